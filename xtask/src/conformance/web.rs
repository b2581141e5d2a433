//! The browser build: the module in Node and in headless Chromium finds the spans that `hl-run` finds, and its page works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{browser, program, programs, spans};
use crate::commands::{self, output, root};
use crate::web::{self, npm};

/// Tasks and precisions that are compared, and whether results must be equal: int8 rounds at edges otherwise on other processors.
const COMPARED: [(&str, &str, bool); 4] =
    [("mtop", "f32", true), ("mtod", "f32", true), ("snips", "f32", true), ("mtop", "int8", false)];

/// Runs all checks of the browser build; the first failure ends it.
pub(super) fn check(screenshots: bool) -> Result<()> {
    programs()?;
    web::run()?;
    for script in ["check", "test"] {
        commands::run(npm().args(["run", "--silent", script]))?;
    }
    let texts = spans::texts()?;
    let folder = tempfile::tempdir()?;
    for (at, (task, precision, exact)) in COMPARED.into_iter().enumerate() {
        let (model, site) = (folder.path().join("model.onnx"), folder.path().join("site"));
        export(task, precision, &["--output"], &model)?;
        export(task, precision, &["--web"], &site)?;
        let expected = folder.path().join("expected.json");
        let mut lines = spans::of_hl_run(&model, &texts, &[])?;
        lines.insert("texts".to_owned(), json!(texts));
        lines.insert("exact".to_owned(), json!(exact));
        fs::write(&expected, Value::Object(lines).to_string())?;
        let scripts = root().join("web/conformance");
        eprint!("{}", output(Command::new("node").arg(scripts.join("node.js")).arg(&site).arg(&expected))?);
        in_browser(&site, &expected, screenshots && at + 1 == COMPARED.len())?;
    }
    let mut bad_input = Command::new("node");
    bad_input.arg("--test").arg(root().join("web/conformance/bad-input.js"));
    commands::run(bad_input.env("SITE", folder.path().join("site")))?;
    package(folder.path())
}

/// The module and the page in headless Chromium, if there is one.
fn in_browser(site: &Path, expected: &Path, screenshots: bool) -> Result<()> {
    let Some(browser) = browser() else {
        eprintln!("Chromium is not checked: there is none (Debian: `apt-get install chromium`)");
        return Ok(());
    };
    let mut check = Command::new("node");
    check.arg(root().join("web/conformance/chromium.js")).arg(browser).arg(site).arg(expected);
    if screenshots {
        check.arg(root().join("docs/images").canonicalize()?);
    }
    eprint!("{}", output(&mut check)?);
    Ok(())
}

/// Exports a task of the committed run. The program finds the packages in the clone.
fn export(task: &str, precision: &str, to: &[&str], path: &Path) -> Result<()> {
    let mut export = program("hl-export");
    export.args(["--run", "fixtures/runs/nano", "--task", task, "--precision", precision, "--quiet"]);
    output(export.args(["--force", "--no-cost"]).args(to).arg(path)).map(drop)
}

/// Packs the module as npm publishes it, installs it elsewhere, and runs a program in TypeScript and the book's code with it.
fn package(folder: &Path) -> Result<()> {
    let printed = output(npm().args(["pack", "--silent", "--pack-destination"]).arg(folder))?;
    let archive = printed.lines().last().context("npm names no archive")?.to_owned();
    let outside = folder.join("outside");
    fs::create_dir(&outside)?;
    fs::write(outside.join("package.json"), "{ \"private\": true, \"type\": \"module\" }")?;
    let example = root().join("web/conformance/example.ts");
    fs::copy(&example, outside.join("example.ts")).with_context(|| example.display().to_string())?;
    let mut install = Command::new("npm");
    install.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
    commands::run(install.arg(folder.join(archive)).current_dir(&outside))?;
    let compiler: PathBuf = root().join("web/node_modules/typescript/bin/tsc").canonicalize()?;
    let mut compile = Command::new("node");
    compile.arg(compiler).args(["--strict", "--target", "es2024", "--module", "nodenext"]);
    commands::run(compile.arg("example.ts").current_dir(&outside))?;
    fs::rename(folder.join("site"), outside.join("site")).context("cannot move the site")?;
    let printed = output(Command::new("node").args(["example.js", "site"]).current_dir(&outside))?;
    ensure!(printed.lines().next().is_some(), "the example found no span");
    eprintln!("the package of npm, in TypeScript: {}", printed.trim().replace('\n', "; "));
    let mut book = Command::new("node");
    book.arg(root().join("web/conformance/book.js")).arg(root().join("docs/browser.md")).arg(&outside);
    eprint!("{}", output(&mut book)?);
    Ok(())
}
