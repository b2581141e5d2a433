//! Whole-chain tests live in `tests/`; this crate holds only their shared helpers.
