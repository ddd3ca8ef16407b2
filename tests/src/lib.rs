//! Whole-system, plugin and interop tests.
