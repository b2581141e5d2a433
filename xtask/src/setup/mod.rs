//! `cargo xtask setup`: fetches libtorch and ONNX Runtime from PyPI into `.native/`, checked against pinned hashes.
//!
//! - [`platforms`]: the wheels of each platform
//! - [`wheel`]: download, hash and unpacking
//! - [`backbone`]: pretrained models
//! - [`mod@mermaid`]: the script that draws the book's diagrams

pub(crate) mod backbone;
mod mermaid;
mod platforms;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::commands::{root, target};
use platforms::Platform;

/// Makes `.native/` complete. Quick if it is; fetches the missing wheels if it is not.
pub(crate) fn run() -> Result<()> {
    let (native, platform) = (native(), platform()?);
    fs::create_dir_all(&native)?;
    for wheel in platform.native {
        wheel::install(&native, wheel, platform.tags)
            .with_context(|| format!("cannot set up `{}`", wheel.requirement))?;
    }
    if let Some((link, target)) = platform.link {
        let link = native.join("libtorch/lib").join(link);
        if !link.exists() {
            #[cfg(unix)]
            std::os::unix::fs::symlink(target, &link)?;
        }
    }
    for library in [platform.libtorch, platform.onnxruntime] {
        check_loads(&native.join(library))?;
    }
    eprintln!("libtorch 2.11.0 and ONNX Runtime 1.31.1 are ready in `.native/`");
    Ok(())
}

/// ONNX Runtime's library in `.native/`.
pub(crate) fn onnxruntime() -> Result<PathBuf> {
    Ok(native().join(platform()?.onnxruntime))
}

/// A program of the workspace in the root of the clone, with the library of ONNX Runtime that is set up, unless the environment
/// names one. Programs find it by themselves only while the target folder is in the clone.
pub(crate) fn program(profile: &str, name: &str) -> Command {
    let mut command = Command::new(target().join(profile).join(name));
    command.current_dir(root());
    if let (None, Ok(library)) = (std::env::var_os("ORT_DYLIB_PATH"), onnxruntime()) {
        command.env("ORT_DYLIB_PATH", library);
    }
    command
}

/// The `mdbook` program, fetched into `.native/` if it is not there.
pub(crate) fn mdbook() -> Result<PathBuf> {
    let (native, platform) = (native(), platform()?);
    fs::create_dir_all(&native)?;
    wheel::install(&native, &platform.mdbook, platform.tags)
        .with_context(|| format!("cannot set up `{}`", platform.mdbook.requirement))?;
    Ok(native.join(platform.mdbook.files[0].1))
}

/// The script that draws the book's diagrams, fetched into `.native/` if it is not there; `None` without npm.
pub(crate) fn mermaid() -> Result<Option<PathBuf>> {
    mermaid::install(&native())
}

fn native() -> PathBuf {
    root().join(".native")
}

fn platform() -> Result<&'static Platform> {
    platforms::here().context(
        "the native libraries are pinned for Linux on x86-64, Linux on aarch64 and macOS on arm64\n\
         hint: put libtorch 2.11 and ONNX Runtime 1.20 or newer in place yourself and set LIBTORCH and ORT_DYLIB_PATH",
    )
}

fn check_loads(library: &Path) -> Result<()> {
    // SAFETY: the initializers of these libraries only register themselves; none of their functions is called.
    #[allow(unsafe_code)]
    let loaded = unsafe { libloading::Library::new(library) };
    match loaded {
        // Unloading libtorch would run its destructors, which nothing here needs.
        Ok(library) => std::mem::forget(library),
        Err(error) => bail!(
            "`{}` does not load: {error}\nhint: remove `.native` and run `cargo xtask setup` again",
            library.display()
        ),
    }
    Ok(())
}
