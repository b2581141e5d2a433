//! Fetches libtorch and ONNX Runtime from PyPI into `.native/`, checked against pinned hashes.
//!
//! torch's CPU library links against two CUDA libraries to load; with libtorch_cuda left out, tch links without CUDA
//! and finds it at run time on machines that have it.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::commands::{self, root};

/// A wheel, the files that are taken from it, and where they go in `.native/`.
struct Wheel {
    requirement: &'static str,
    sha256: &'static str,
    /// (path in the wheel, ending in `/` for a folder; path in `.native/`).
    files: &'static [(&'static str, &'static str)],
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        requirement: "torch==2.11.0",
        sha256: "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a",
        files: &[
            ("torch/include/", "libtorch/include/"),
            ("torch/lib/libtorch_cpu.so", "libtorch/lib/libtorch_cpu.so"),
            ("torch/lib/libc10.so", "libtorch/lib/libc10.so"),
            ("torch/lib/libgomp.so.1", "libtorch/lib/libgomp.so.1"),
        ],
    },
    Wheel {
        requirement: "nvidia-cuda-runtime==13.0.96",
        sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        files: &[("nvidia/cu13/lib/libcudart.so.13", "libtorch/lib/libcudart.so.13")],
    },
    Wheel {
        requirement: "nvidia-cuda-cupti==13.0.85",
        sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
        files: &[("nvidia/cu13/lib/libcupti.so.13", "libtorch/lib/libcupti.so.13")],
    },
    Wheel {
        requirement: "onnxruntime==1.31.1",
        sha256: "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
        files: &[("onnxruntime/capi/libonnxruntime.so.1.31.1", ONNXRUNTIME)],
    },
];

/// ONNX Runtime's library.
const ONNXRUNTIME: &str = "onnxruntime/lib/libonnxruntime.so.1.31.1";

/// Libraries that must load when all is in place.
const LIBRARIES: [&str; 2] = ["libtorch/lib/libtorch_cpu.so", ONNXRUNTIME];

/// Makes `.native/` complete. Quick when it is; goes on with the wheels that are missing when it is not.
pub(crate) fn run_in(native: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "the native libraries are pinned for Linux on x86-64 only\n\
             hint: put libtorch 2.11 and ONNX Runtime 1.20 or newer in place yourself and set LIBTORCH and ORT_DYLIB_PATH"
        );
    }
    fs::create_dir_all(native)?;
    for wheel in &WHEELS {
        let stamp = native.join(format!("{}.done", wheel.requirement));
        if fs::read_to_string(&stamp).is_ok_and(|hash| hash == wheel.sha256) {
            continue;
        }
        install(native, wheel).with_context(|| format!("cannot set up `{}`", wheel.requirement))?;
        fs::write(&stamp, wheel.sha256)?;
    }
    let link = native.join("libtorch/lib/libtorch.so");
    if !link.exists() {
        #[cfg(unix)]
        std::os::unix::fs::symlink("libtorch_cpu.so", &link)?;
    }
    LIBRARIES.iter().try_for_each(|library| check_loads(&native.join(library)))
}

/// Where ONNX Runtime's library is when all is in place.
pub(crate) fn onnxruntime() -> PathBuf {
    root().join(".native").join(ONNXRUNTIME)
}

/// `cargo xtask setup`.
pub(crate) fn run() -> Result<()> {
    let native = root().join(".native");
    run_in(&native)?;
    eprintln!("libtorch 2.11.0 and ONNX Runtime 1.31.1 are ready in `.native/`");
    Ok(())
}

fn install(native: &Path, wheel: &Wheel) -> Result<()> {
    let archive = download(native, wheel)?;
    unpack(&archive, native, wheel.files)?;
    fs::remove_dir_all(archive.parent().unwrap_or(native))?;
    Ok(())
}

/// Fetches a wheel with pip, which resolves mirrors and proxies as the machine is set up, and checks its hash.
fn download(native: &Path, wheel: &Wheel) -> Result<PathBuf> {
    let folder = native.join(format!("{}.download", wheel.requirement));
    if let Some(complete) = complete_wheel(&folder, wheel)? {
        return Ok(complete);
    }
    // Whatever pip leaves behind when it is cut must lie inside the clone.
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary)?;
    let mut pip = Command::new("python3");
    pip.env("TMPDIR", &temporary).args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"]);
    pip.args(["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]);
    for platform in ["2_28", "2_25", "2_17"] {
        pip.args(["--platform", &format!("manylinux_{platform}_x86_64")]);
    }
    pip.args(["--platform", "manylinux2014_x86_64", "--dest"]).arg(&folder).arg(wheel.requirement);
    commands::run(&mut pip).context("hint: python3 with pip is needed to fetch the native libraries")?;
    complete_wheel(&folder, wheel)?
        .with_context(|| format!("pip brought no wheel with SHA-256 {}", wheel.sha256))
}

fn complete_wheel(folder: &Path, wheel: &Wheel) -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "whl") && sha256(&path)? == wheel.sha256 {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn sha256(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut HashWriter(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unpack(archive: &Path, native: &Path, files: &[(&str, &str)]) -> Result<()> {
    let mut zip = zip::ZipArchive::new(File::open(archive)?)?;
    let mut taken = vec![false; files.len()];
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index)?;
        let name = entry.name()?.into_owned();
        let Some(place) = files
            .iter()
            .position(|(from, _)| name == *from || (from.ends_with('/') && name.starts_with(from)))
        else {
            continue;
        };
        if entry.is_dir() {
            continue;
        }
        let (from, to) = files[place];
        let relative = PathBuf::from(format!("{to}{}", &name[from.len()..]));
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        ensure!(plain, "the wheel holds an unsafe path `{name}`");
        let target = native.join(relative);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // A program may have the older file mapped: it must be replaced, not overwritten.
        let mut temporary = tempfile::NamedTempFile::new_in(native)?;
        io::copy(&mut entry, &mut temporary)
            .with_context(|| format!("cannot write `{}`", target.display()))?;
        temporary.persist(&target)?;
        taken[place] = true;
    }
    match taken.iter().position(|t| !t) {
        Some(missing) => bail!("`{}` is not in the wheel", files[missing].0),
        None => Ok(()),
    }
}

fn check_loads(library: &Path) -> Result<()> {
    // SAFETY: these libraries' initialisers only register themselves; nothing of theirs is called.
    #[allow(unsafe_code)]
    let loaded = unsafe { libloading::Library::new(library) };
    match loaded {
        // Unloading libtorch would run its destructors for nothing.
        Ok(library) => std::mem::forget(library),
        Err(error) => bail!(
            "`{}` does not load: {error}\nhint: remove `.native` and run `cargo xtask setup` again",
            library.display()
        ),
    }
    Ok(())
}
