//! `cargo xtask book`: builds the book in `docs/` with a pinned mdBook.
//!
//! `cargo test --package hyperloader-tests --test book` runs the commands that the book shows and checks its links.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::commands::{self, root};
use crate::setup;

/// Where mdBook copies scripts from, relative to the root of the clone.
const SCRIPTS: &str = "target/book-scripts";
/// Turns the code blocks of diagrams into elements that Mermaid draws.
const START: &str = "for (const code of document.querySelectorAll('code.language-mermaid')) {
  const diagram = document.createElement('div');
  diagram.className = 'mermaid';
  diagram.textContent = code.textContent;
  code.parentElement.replaceWith(diagram);
}
mermaid.initialize({ startOnLoad: false });
mermaid.run();
";

/// Builds the book into `target/book`, or serves it until Ctrl-C.
pub(crate) fn run(serve: bool) -> Result<()> {
    let mut mdbook = Command::new(setup::mdbook()?);
    mdbook.current_dir(root());
    match setup::mermaid()? {
        Some(mermaid) => {
            let scripts = root().join(SCRIPTS);
            fs::create_dir_all(&scripts)?;
            fs::copy(mermaid, scripts.join("mermaid.min.js"))?;
            fs::write(scripts.join("start.js"), START)?;
            let list = format!("[\"{SCRIPTS}/mermaid.min.js\", \"{SCRIPTS}/start.js\"]");
            mdbook.env("MDBOOK_OUTPUT__HTML__ADDITIONAL_JS", list);
        }
        None => eprintln!("npm is not installed: the book shows its diagrams as text"),
    }
    commands::run(mdbook.arg(if serve { "serve" } else { "build" }))?;
    eprintln!("the book is in `target/book/index.html`");
    Ok(())
}
