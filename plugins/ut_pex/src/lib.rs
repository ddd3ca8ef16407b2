//! Exchanges peer addresses (BEP 11).
