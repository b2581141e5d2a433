//! Whether an output would replace a file that is read: by any of its names.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use hyperloader_runtime::WeightFile;

use crate::args::TagArgs;

/// Identity of a file. All links to a file have the same one.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((about.dev(), about.ino()))
}

/// Identity of a file. All symbolic links to a file have the same one.
#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok().filter(|path| path.is_file())
}

/// Checks that none of `outputs` is a file that is read.
///
/// # Errors
/// With the names of both.
pub(crate) fn check(args: &TagArgs, outputs: &[PathBuf]) -> Result<()> {
    let read = read(args);
    for output in outputs {
        let Some(written) = identity(output) else { continue };
        if let Some((role, path)) = read.iter().find(|(_, path)| identity(path).as_ref() == Some(&written)) {
            bail!(
                "`{}` would be replaced by the output: it is the same file as {role} `{}`\n\
                 hint: name another file with `--output`",
                output.display(),
                path.display()
            );
        }
    }
    Ok(())
}

/// The files that are read, each with its role.
fn read(args: &TagArgs) -> Vec<(&'static str, PathBuf)> {
    let reads_stdin = args.sentences.is_empty() && args.gold.is_none() && args.input.is_empty();
    let mut files: Vec<(&'static str, PathBuf)> = Vec::new();
    let models = args.models.iter().map(|path| ("the model", path));
    for (role, model) in models.chain(args.compare.iter().map(|path| ("the model of `--compare`", path))) {
        files.push((role, model.clone()));
        // A model that cannot be opened is reported when it is.
        let opened = WeightFile::open(model);
        files.extend(
            opened.iter().flat_map(WeightFile::paths).map(|path| ("weights of the model", path.to_owned())),
        );
    }
    for input in &args.input {
        match input.as_os_str() == "-" {
            true => files.push(("the redirected input", STDIN.into())),
            false => files.push(("the input", input.clone())),
        }
    }
    if reads_stdin {
        files.push(("the redirected input", STDIN.into()));
    }
    if let Some(gold) = &args.gold {
        files.push(("the labeled file", gold.clone()));
        files.extend(["seq.in", "seq.out"].map(|name| ("the labeled file", gold.join(name))));
    }
    files
}

/// Leads to the file that stdin was redirected from, if it was.
const STDIN: &str = "/dev/stdin";
