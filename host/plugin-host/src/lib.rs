//! Loads plugin images, runs their instances and keeps their failures inside.
