//! `cargo xtask book`: builds the book in `docs/` with a pinned mdBook.
//!
//! `cargo test --package hyperloader-tests --test book` runs the commands that the book shows and checks its links.

use std::process::Command;

use anyhow::Result;

use crate::commands::{self, root};
use crate::setup;

/// Builds the book into `target/book`, or serves it until Ctrl-C.
pub(crate) fn run(serve: bool) -> Result<()> {
    let mut mdbook = Command::new(setup::mdbook()?);
    mdbook.current_dir(root());
    commands::run(mdbook.arg(if serve { "serve" } else { "build" }))?;
    eprintln!("the book is in `target/book/index.html`");
    Ok(())
}
