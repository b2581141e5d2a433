//! The Python package: its wheel, installed where there is no compiler, passes its tests and finds the spans of `hl-run`.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::commands::{self, cargo, output, root};

/// Builds the wheel, installs it into a new environment, and runs its checks there.
pub(super) fn check() -> Result<()> {
    super::programs()?;
    let mut clippy = of_package("clippy");
    commands::run(clippy.args(["--locked", "--lib", "--", "--deny", "warnings"]))?;
    let python = install(&build()?, "wheel")?;
    let folder = root().join("python");

    for command in [&["check"][..], &["format", "--check"]] {
        let mut ruff = Command::new(&python);
        ruff.args(["-m", "ruff"]).args(command).args([".", "../bench/python"]);
        commands::run(ruff.current_dir(&folder))?;
    }
    let mut tests = Command::new(&python);
    tests.args(["-m", "pytest", "--quiet"]).arg(folder.join("tests"));
    commands::run(tests.env("HL_EXPORT", super::program("hl-export").get_program()))?;
    let models = tempfile::tempdir()?;
    for module in [&["mypy"][..], &["mypy.stubtest", "hyperloader._hyperloader"]] {
        let mut mypy = Command::new(&python);
        mypy.arg("-m").args(module);
        if module.len() == 1 {
            mypy.arg("--config-file").arg(folder.join("pyproject.toml"));
        }
        // Where there is no source: the installed package is checked.
        commands::run(mypy.current_dir(models.path()))?;
    }

    let mut compare = Command::new(&python);
    compare.arg(folder.join("conformance/wheel.py")).arg(super::program("hl-run").get_program());
    for (task, ..) in super::SENTENCES {
        let model = models.path().join(format!("{task}.onnx"));
        export(task, &model)?;
        compare.arg(model);
    }
    for line in output(&mut compare)?.lines() {
        eprintln!("the wheel and hl-run: {line}");
    }
    Ok(())
}

/// Exports a task of the committed run to `model`.
pub(super) fn export(task: &str, model: &Path) -> Result<()> {
    let mut export = super::program("hl-export");
    let run = ["--run", "fixtures/runs/nano", "--task", task, "--quiet", "--output"];
    output(export.args(run).arg(model)).map(drop)
}

/// A command of cargo in the package, which is a workspace of its own.
fn of_package(command: &str) -> Command {
    let mut cargo = cargo();
    cargo.args([command, "--manifest-path"]).arg(root().join("python/Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", target()).env("CARGO_ENCODED_RUSTFLAGS", without_paths());
    cargo
}

/// Folders of this machine, and what programs name them.
fn folders() -> [(PathBuf, &'static str); 2] {
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE")).unwrap_or_default();
    let cargo =
        std::env::var_os("CARGO_HOME").map_or_else(|| PathBuf::from(home).join(".cargo"), PathBuf::from);
    let clone = root().canonicalize().unwrap_or_else(|_| root());
    [(clone, "hyperloader"), (cargo, "cargo")]
}

/// Flags of rustc that keep the paths of this machine out of messages of panics.
fn without_paths() -> String {
    let flag = |(folder, name): &(PathBuf, &str)| format!("--remap-path-prefix={}={name}", folder.display());
    folders().iter().map(flag).collect::<Vec<_>>().join("\x1f")
}

/// Returns an error if the file contains the path of a folder of this machine.
fn check_has_no_path(file: &Path) -> Result<()> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    for (folder, _) in folders() {
        let path = folder.as_os_str().as_encoded_bytes();
        let found = bytes.windows(path.len()).any(|window| window == path);
        ensure!(!found, "`{}` has the path `{}` in it", file.display(), folder.display());
    }
    Ok(())
}

fn target() -> PathBuf {
    commands::target().join("python")
}

/// Builds the wheel, with the program `hl-run` in it.
pub(super) fn build() -> Result<PathBuf> {
    commands::run(of_package("build").args(["--release", "--locked", "--bin", "hl-run"]))?;
    let package = root().join("python");
    let programs = package.join("hyperloader/bin");
    fs::create_dir_all(&programs).with_context(|| format!("cannot create `{}`", programs.display()))?;
    let name = format!("hl-run{}", std::env::consts::EXE_SUFFIX);
    fs::copy(target().join("release").join(&name), programs.join(&name))
        .with_context(|| format!("cannot copy {name}"))?;

    let python = super::environment("maturin", &package.join("conformance/requirements-build.txt"))?;
    let wheels = tempfile::tempdir()?;
    let mut maturin = Command::new(&python);
    maturin.args(["-m", "maturin", "build", "--release", "--locked", "--out"]).arg(wheels.path());
    maturin.env("CARGO_TARGET_DIR", target()).env("CARGO_ENCODED_RUSTFLAGS", without_paths());
    commands::run(maturin.current_dir(&package))?;
    check_has_no_path(&programs.join(&name))?;
    check_has_no_path(&target().join("release").join(format!("{DLL_PREFIX}_hyperloader{DLL_SUFFIX}")))?;
    let found = fs::read_dir(wheels.path())?.collect::<Result<Vec<_>, _>>()?;
    ensure!(found.len() == 1, "maturin wrote {} files, not one wheel", found.len());
    let kept = target().join("wheels").join(found[0].file_name());
    fs::create_dir_all(target().join("wheels"))?;
    fs::copy(found[0].path(), &kept).context("cannot keep the wheel")?;
    let bytes = fs::metadata(&kept)?.len();
    eprintln!("{}: {:.1} MB", kept.display(), bytes as f64 / 1e6);
    Ok(kept)
}

/// The Python of a new environment with the wheel and the packages of `requirements-NAME.txt`. Packages are
/// wheels unless the requirements say otherwise, and no compiler is found on the way.
pub(super) fn install(wheel: &Path, name: &str) -> Result<PathBuf> {
    let folder = root().join(".native").join(format!("python-{name}"));
    commands::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let programs = folder.join("bin");
    let python = programs.join("python3");
    let requirements = root().join(format!("python/conformance/requirements-{name}.txt"));
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.arg(wheel).arg("--requirement").arg(requirements);
    commands::run(pip.env("PATH", &programs).env("CC", "none").env("CXX", "none"))?;
    Ok(python)
}
