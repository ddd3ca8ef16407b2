//! Swarms of real sessions in virtual time.
