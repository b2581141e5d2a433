//! Mermaid, which draws the book's diagrams: one script from a package of the npm registry, checked against a pinned hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::wheel::sha256;
use crate::commands;

const PACKAGE: &str = "mermaid@11.12.2";
const ARCHIVE: &str = "mermaid-11.12.2.tgz";
const SHA256: &str = "c4ab1840638b1735135090c667382e89cc353b46b56761514a3d0a8a80963832";
const SCRIPT: &str = "package/dist/mermaid.min.js";

/// The script in `native`, fetched if it is not there; `None` if npm is not installed.
pub(crate) fn install(native: &Path) -> Result<Option<PathBuf>> {
    let folder = native.join(PACKAGE);
    let script = folder.join(SCRIPT);
    if script.is_file() {
        return Ok(Some(script));
    }
    if Command::new("npm").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    fs::create_dir_all(&folder)?;
    commands::run(Command::new("npm").args(["pack", "--silent", PACKAGE]).current_dir(&folder))?;
    let archive = folder.join(ARCHIVE);
    let found = sha256(&archive)?;
    ensure!(found == SHA256, "`{}` has SHA-256 {found}, expected {SHA256}", archive.display());
    commands::run(Command::new("tar").args(["-xzf", ARCHIVE, SCRIPT]).current_dir(&folder))?;
    fs::remove_file(&archive).with_context(|| archive.display().to_string())?;
    Ok(Some(script))
}
