//! Real plugin libraries, mapped and run: whole ones, broken ones, and ones that misbehave.

mod files;
mod hooks;
mod life;
mod rig;
