//! The #[hooks] attribute.
