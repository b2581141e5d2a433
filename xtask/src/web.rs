//! `cargo xtask web`: the packages of npm that sites and the module in `web/` are built on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::commands::{self, root};

/// Fetches the packages, and copies the files that `hl-export --web` puts into a site to `.native/web/packages`.
pub(crate) fn run() -> Result<()> {
    install()?;
    let folder = packages()?;
    eprintln!("{}: packages for `hl-export --web`", folder.display());
    Ok(())
}

/// Fetches the packages of `web/package-lock.json`, whose digests npm checks, into `web/node_modules`.
pub(crate) fn install() -> Result<()> {
    let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"];
    // Not on stdout, which has the data of the command that needs the packages.
    eprint!("{}", commands::output(npm().args(install))?);
    Ok(())
}

/// npm in the folder of the module.
pub(crate) fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(root().join("web"));
    npm
}

/// Copies the files of a site out of the packages. They have the versions in their names, so that no site gets those of an
/// earlier version.
fn packages() -> Result<PathBuf> {
    let (web, folder) = (root().join("web"), root().join(".native/web/packages"));
    let module = web.join("package.json");
    let text = fs::read_to_string(&module).with_context(|| module.display().to_string())?;
    let module: Value = serde_json::from_str(&text)?;
    let modules = web.join("node_modules");
    let (ort, tokenizers) = ("onnxruntime-web", "@huggingface/tokenizers");
    let versioned = |package: &str| {
        let version = module["dependencies"][package].as_str().context("no version")?;
        anyhow::Ok(format!("{}-{version}.mjs", package.trim_start_matches("@huggingface/")))
    };
    let copies = [
        (modules.join(ort).join("dist/ort.wasm.bundle.min.mjs"), versioned(ort)?),
        (modules.join(ort).join("dist/ort-wasm-simd-threaded.wasm"), "ort-wasm-simd-threaded.wasm".into()),
        (modules.join(tokenizers).join("dist/tokenizers.min.mjs"), versioned(tokenizers)?),
    ];
    let licenses = [web.join("licenses.txt"), modules.join(tokenizers).join("LICENSE")];
    // Made anew: files of earlier versions would stay.
    let new = folder.with_extension("new");
    remove(&new)?;
    fs::create_dir_all(&new)?;
    for (from, name) in copies {
        fs::copy(&from, new.join(name)).with_context(|| format!("cannot copy `{}`", from.display()))?;
    }
    let read = |path: &PathBuf| fs::read_to_string(path).with_context(|| path.display().to_string());
    let licenses = licenses.iter().map(read).collect::<Result<String>>()?;
    ensure!(licenses.contains("Apache License"), "the license of `{tokenizers}` is another one");
    fs::write(new.join("LICENSES.txt"), licenses)?;
    remove(&folder)?;
    fs::rename(&new, &folder)?;
    Ok(folder)
}

fn remove(folder: &Path) -> Result<()> {
    match folder.exists() {
        true => fs::remove_dir_all(folder).with_context(|| folder.display().to_string()),
        false => Ok(()),
    }
}
