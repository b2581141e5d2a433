//! Data files: large weights in a file beside the model, of one task or shared by several.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use hyperloader_core::files::{Existing, FileError, folder_of, sha256, write_checked};
use hyperloader_onnx::{Bytes, Digest, External, Weight, WriteError, is_large, weight_digest, write_data};

use crate::error::{ExportError, ModelError};
use crate::precision::content::{Content, FileGraph, elements};
use crate::precision::matrices::StoredMatrices;

/// Extension of data files.
const EXTENSION: &str = "weights";
/// Number of digits of the content's SHA-256 in a data file's name.
const DIGITS: usize = 16;

/// Where the large weights of a model file go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Placement<'a> {
    /// Into the model file if it then has at most 2 GiB, otherwise into a data file beside it.
    Auto,
    /// Into a data file beside it.
    Beside,
    /// Some are in this data file already, the others go into the model file.
    Shared(&'a DataFile),
}

/// A data file that was written.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    pub(crate) path: PathBuf,
    /// Whether there was no file of this name, which means of this content, before.
    is_new: bool,
    pub(crate) external: External,
    /// The digests of its weights.
    pub(crate) digests: Digests,
}

impl DataFile {
    /// Writes the large weights of `graph` that `wanted` chooses to the folder of `model`, a model file.
    ///
    /// The name is `STEM-HASH.weights`, with the first digits of the content's SHA-256: a file never changes its content, so a
    /// model never refers to the weights of another.
    pub(crate) fn write(
        graph: &FileGraph<'_>,
        stored: &StoredMatrices,
        model: &Path,
        wanted: impl Fn(&Weight<Content<'_>>) -> bool,
    ) -> Result<Self, ExportError> {
        let weights = || graph.weights.iter().filter(|weight| is_large(*weight) && wanted(weight));
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        // A name that no file of the user has: the hash is not known before the file is complete.
        let unnamed = model.with_file_name(format!(".{stem}.{EXTENSION}.new"));
        let mut digests = Digesting::default();
        let fill = |mut out: &mut dyn Write| {
            write_data(&mut out, weights(), |weight| digests.elements(weight, stored)).map_err(of_write)
        };
        let (offsets, hash) =
            write_checked(&unnamed, Existing::Replace, fill, |file, offsets| Ok((offsets, sha256(file)?)))?;
        let location = format!("{stem}-{}.{EXTENSION}", &hash[..DIGITS]);
        let path = model.with_file_name(&location);
        let is_new = !path.exists();
        fs::rename(&unnamed, &path).map_err(|error| FileError::new("write", &path, error))?;
        Ok(Self { path, is_new, external: External { location, offsets }, digests: digests.finish() })
    }

    /// Removes the file, because the model that refers to it was not written. A file that was there before stays.
    pub(crate) fn discard(&self) {
        if self.is_new {
            // The error that comes from the model matters more.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// The data files of earlier models at the path `model`. They stay: another model may be a copy of an earlier one.
    pub(crate) fn earlier(&self, model: &Path) -> Vec<PathBuf> {
        let stem = model.file_stem().unwrap_or_default().to_string_lossy();
        let is_earlier = |name: &str| {
            let hash = name.strip_prefix(&*stem).and_then(|rest| rest.strip_prefix('-'));
            let hash = hash.and_then(|rest| rest.strip_suffix(EXTENSION)?.strip_suffix('.'));
            let is_hash =
                |hash: &str| hash.len() == DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
            name != self.external.location && hash.is_some_and(is_hash)
        };
        let entries = fs::read_dir(folder_of(&self.path));
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut earlier: Vec<PathBuf> = paths
            .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_earlier))
            .collect();
        earlier.sort();
        earlier
    }
}

/// The error of a weight that could not be supplied as the model's own.
pub(crate) fn of_write(error: WriteError) -> ExportError {
    match error {
        WriteError::Source { name, source } => match source.downcast::<ModelError>() {
            Ok(error) => ExportError::Model(*error),
            Err(source) => WriteError::Source { name, source }.into(),
        },
        error => error.into(),
    }
}

/// Digests of weights, by name.
pub(crate) type Digests = BTreeMap<String, Digest>;

/// Digests of weights, each computed while the weight is written.
#[derive(Debug, Default)]
pub(crate) struct Digesting {
    done: Digests,
    /// The name of the last weight, and the thread that computes its digest.
    last: Option<(String, JoinHandle<Digest>)>,
}

impl Digesting {
    /// Starts with digests that are known.
    pub(crate) fn with(done: Digests) -> Self {
        Self { done, last: None }
    }

    /// The elements of a weight, whose digest is then computed. No more than one weight is in memory.
    pub(crate) fn elements(
        &mut self,
        weight: &Weight<Content<'_>>,
        stored: &StoredMatrices,
    ) -> Result<Bytes, ModelError> {
        self.join();
        let bytes = elements(weight, stored)?;
        let Weight { name, element_type, dims, .. } = weight;
        let weight =
            Weight { name: name.clone(), element_type: *element_type, dims: dims.clone(), source: () };
        let of_thread = bytes.clone();
        let thread = thread::spawn(move || weight_digest(&weight, &of_thread));
        self.last = Some((name.clone(), thread));
        Ok(bytes)
    }

    /// The digests of all weights.
    pub(crate) fn finish(mut self) -> Digests {
        self.join();
        self.done
    }

    fn join(&mut self) {
        if let Some((name, thread)) = self.last.take() {
            let digest = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            self.done.insert(name, digest);
        }
    }
}

/// The digests of a graph's large weights.
pub(crate) fn digests(graph: &FileGraph<'_>, stored: &StoredMatrices) -> Result<Digests, ExportError> {
    let mut digests = Digesting::default();
    for weight in graph.weights.iter().filter(|weight| is_large(*weight)) {
        digests.elements(weight, stored)?;
    }
    Ok(digests.finish())
}

/// The names of the weights that are the same in all graphs.
pub(crate) fn shared(digests: &[Digests]) -> BTreeSet<String> {
    let Some((first, others)) = digests.split_first() else { return BTreeSet::new() };
    let in_all =
        |(name, digest): &(&String, &Digest)| others.iter().all(|other| other.get(*name) == Some(*digest));
    first.iter().filter(in_all).map(|(name, _)| name.clone()).collect()
}
