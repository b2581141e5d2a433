//! `cargo xtask test`: what CI runs.

use anyhow::Result;

use crate::commands::{self, cargo};
use crate::setup;

/// Formats, lints, tests, docs, in this order; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    commands::run(cargo().args(["fmt", "--all", "--check"]))?;
    commands::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    // Snapshots are compared, never written.
    commands::run(cargo().env("INSTA_UPDATE", "no").args(["test", "--workspace"]))?;
    commands::run(cargo().env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps"]))
}
