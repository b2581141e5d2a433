//! `cargo xtask test`: what continuous integration runs.

use anyhow::Result;

use crate::commands::{self, cargo};
use crate::{dependencies, setup};

/// Formats, lints, dependencies, tests, docs, in this order; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    commands::run(cargo().args(["fmt", "--all", "--check"]))?;
    // The Python package is a workspace of its own; `cargo xtask conformance wheel` builds and lints it.
    commands::run(cargo().args(["fmt", "--manifest-path", "python/Cargo.toml", "--check"]))?;
    commands::run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    dependencies::check()?;
    let mut test = cargo();
    // Snapshots are compared, never written.
    test.env("INSTA_UPDATE", "no").args(["test", "--workspace"]);
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        // Programs find it by themselves only while the target folder is in the clone.
        test.env("ORT_DYLIB_PATH", setup::onnxruntime()?);
    }
    commands::run(&mut test)?;
    commands::run(cargo().env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps"]))
}
