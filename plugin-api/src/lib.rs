//! The stable interface between reef and its plugins.
