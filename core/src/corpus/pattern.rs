//! Patterns of file names, which stand for the files of a training split.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use crate::files::{FileError, check_regular, folder_of};

/// A pattern of file names stands for no files, or for files that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// No file matches.
    #[error(
        "no file matches `{}`\nhint: `*` and `?` stand for characters of the file's name, not of a folder's",
        .0.display()
    )]
    NoMatch(PathBuf),
    /// No file matches, and the pattern has a set of characters, which may be meant as a part of the name.
    #[error(
        "no file matches `{}`\nhint: in a pattern, `[...]` stands for one of the characters in it; write `[[]` for a `[` of the name",
        .0.display()
    )]
    NoMatchOfSet(PathBuf),
    /// A set of characters has no end, or there are too many `*`.
    #[error(fmt = of_syntax)]
    Syntax {
        /// The pattern.
        path: PathBuf,
        /// Description of the fault.
        reason: &'static str,
    },
    /// Names of files that match are not UTF-8.
    #[error(
        "`{}` matches files whose names are not UTF-8: {names}\nhint: rename them, or choose a pattern that they do not match",
        path.display()
    )]
    NotUtf8 {
        /// The pattern.
        path: PathBuf,
        /// The first names, with a replacement character for each byte that is not UTF-8.
        names: String,
    },
    /// The folder or a file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The message of [`PatternError::Syntax`].
fn of_syntax(path: &Path, reason: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match has_set(path) {
        true => write!(
            f,
            "`{}` is not a pattern of file names: {reason}\nhint: write `[[]` for a `[` of the name",
            path.display()
        ),
        false => write!(
            f,
            "`{}` is not a pattern of file names: {reason}\nhint: a single `*` stands for any number of characters",
            path.display()
        ),
    }
}

/// The most names in a message.
const SHOWN: usize = 3;
/// As in a shell: letter case counts, and a pattern names no hidden files unless it begins with a period.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: true,
};

/// Whether a pattern has a set of characters, `[...]`, or the beginning of one.
fn has_set(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('['))
}

/// Whether the name of a file is a pattern: it has `*` or `?`, and no file has this name.
pub(super) fn is_pattern(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::to_string_lossy);
    name.is_some_and(|name| name.contains(['*', '?'])) && !path.exists()
}

/// The files at `path`: those that match if its last part is a pattern, in the order of their names, else `path` itself.
///
/// # Errors
/// If the folder cannot be read, no file matches, the name of a match is not UTF-8, or `path` or a match is not a regular file.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, PatternError> {
    let files = if is_pattern(path) { matches(path)? } else { vec![path.to_owned()] };
    files.iter().try_for_each(|file| check_regular(file))?;
    Ok(files)
}

fn matches(path: &Path) -> Result<Vec<PathBuf>, PatternError> {
    let pattern = parsed(path)?;
    let folder = folder_of(path);
    let failed = |error| FileError::new("read", folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if pattern.matches_with(&name.to_string_lossy(), OPTIONS) {
            names.push(name);
        }
    }
    names.sort();
    check_utf8(path, &names)?;
    match names.is_empty() {
        true if has_set(path) => Err(PatternError::NoMatchOfSet(path.to_owned())),
        true => Err(PatternError::NoMatch(path.to_owned())),
        false => Ok(names.into_iter().map(|name| path.with_file_name(name)).collect()),
    }
}

/// The pattern in the last part of a path.
fn parsed(path: &Path) -> Result<Pattern, PatternError> {
    let pattern = Pattern::new(&path.file_name().unwrap_or_default().to_string_lossy());
    pattern.map_err(|error| PatternError::Syntax { path: path.to_owned(), reason: error.msg })
}

/// Checks that names can be written in a configuration and in messages.
fn check_utf8(path: &Path, names: &[OsString]) -> Result<(), PatternError> {
    let others: Vec<&OsString> = names.iter().filter(|name| name.to_str().is_none()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        others.iter().take(SHOWN).map(|name| format!("`{}`", name.to_string_lossy())).collect();
    let more = match others.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(PatternError::NotUtf8 { path: path.to_owned(), names: shown.join(", ") + &more })
}
