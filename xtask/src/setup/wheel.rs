//! Fetching a wheel with pip, checking its hash, and unpacking some of its files.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use super::platforms::Wheel;
use crate::commands;

/// Fetches `wheel` and unpacks its files into `native`, unless that was done before.
///
/// `tags` are pip's platform tags.
pub(crate) fn install(native: &Path, wheel: &Wheel, tags: &[&str]) -> Result<()> {
    let stamp = native.join(format!("{}.done", wheel.requirement));
    if fs::read_to_string(&stamp).is_ok_and(|hash| hash == wheel.sha256) {
        return Ok(());
    }
    fetch(native, wheel, tags)?;
    fs::write(&stamp, wheel.sha256)?;
    Ok(())
}

/// Fetches `wheel`, unpacks its files into `native` and removes the wheel.
pub(super) fn fetch(native: &Path, wheel: &Wheel, tags: &[&str]) -> Result<()> {
    let archive = download(native, wheel, tags)?;
    unpack(&archive, native, wheel.files)?;
    fs::remove_dir_all(archive.parent().unwrap_or(native))?;
    Ok(())
}

/// Runs `pip download`, which uses the mirrors and proxies that the machine is set up for.
fn download(native: &Path, wheel: &Wheel, tags: &[&str]) -> Result<PathBuf> {
    let folder = native.join(format!("{}.download", wheel.requirement));
    if let Some(complete) = complete_wheel(&folder, wheel)? {
        return Ok(complete);
    }
    // pip's temporary files stay inside the clone, also if pip is interrupted.
    let temporary = folder.join("tmp");
    fs::create_dir_all(&temporary)?;
    let mut pip = Command::new("python3");
    pip.env("TMPDIR", &temporary).args(["-m", "pip", "download", "--no-deps", "--no-cache-dir"]);
    pip.args(["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]);
    pip.args(tags.iter().flat_map(|tag| ["--platform", tag]));
    pip.arg("--dest").arg(&folder).arg(wheel.requirement);
    commands::run(&mut pip).map_err(|error| {
        anyhow!("{error:#}\nhint: python3 with pip is needed to fetch the native libraries")
    })?;
    complete_wheel(&folder, wheel)?
        .with_context(|| format!("pip fetched no wheel with SHA-256 {}", wheel.sha256))
}

/// The downloaded file with the right hash, if it is there.
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

pub(super) fn sha256(path: &Path) -> Result<String> {
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

/// Copies `files` (from, to) out of `archive` into `native`.
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
        // A program may have the older file mapped, so it is replaced by a rename and never overwritten.
        let mut temporary = tempfile::NamedTempFile::new_in(native)?;
        io::copy(&mut entry, &mut temporary)
            .with_context(|| format!("cannot write `{}`", target.display()))?;
        #[cfg(unix)]
        if let Some(mode) = entry.unix_mode() {
            use std::os::unix::fs::PermissionsExt;
            temporary.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o755))?;
        }
        temporary.persist(&target)?;
        taken[place] = true;
    }
    match taken.iter().position(|t| !t) {
        Some(missing) => bail!("`{}` is not in the wheel", files[missing].0),
        None => Ok(()),
    }
}
