//! Whole-system, plugin and interop tests.

pub mod plugins;
