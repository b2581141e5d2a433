//! A checkpoint's weights as Hugging Face stores them: `model.safetensors`, or the shards that an index lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::files::{FileError, hexadecimal, read_text, sha256};
use crate::weights::in_place::TensorRef;
use crate::weights::tensors::{HostTensor, TensorError, TensorFile, check_shapes};

/// All weights in one file.
pub const SINGLE: &str = "model.safetensors";
/// The index of several files: `{"weight_map": {TENSOR: FILE, ...}}`.
pub const INDEX: &str = "model.safetensors.index.json";
/// Formats that are not read: pickle files can run code, and the others belong to other frameworks.
pub const FOREIGN: [&str; 4] =
    ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"];

/// A folder's weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum WeightsError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A safetensors file is unusable.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// The weights are in a format that is not read.
    #[error(
        "`{}` holds `{found}` but no `{SINGLE}`\nhint: convert it in Python: `MODEL.from_pretrained(FOLDER).save_pretrained(FOLDER, safe_serialization=True)`, with `T5ForConditionalGeneration` or `BertModel` as MODEL",
        folder.display()
    )]
    Foreign {
        /// Path of the folder.
        folder: PathBuf,
        /// The file in another format.
        found: &'static str,
    },
    /// The file is not an index of shards.
    #[error("`{}` is not an index of safetensors files", path.display())]
    Index {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault, with line and column.
        source: serde_json::Error,
    },
    /// The index lists no shard.
    #[error("`{}` is not an index of safetensors files: `weight_map` is empty", .0.display())]
    EmptyIndex(PathBuf),
    /// The index names something else than a safetensors file beside it.
    #[error(
        "`{}`: tensor `{name}` is in `{shard}`, expected the name of a `.safetensors` file beside it",
        index.display()
    )]
    ShardName {
        index: PathBuf,
        /// Name of the tensor.
        name: String,
        /// The name of its shard.
        shard: String,
    },
    /// A shard is missing.
    #[error("shard `{}` is missing, which `{}` lists\nhint: fetch it, or all files again", shard.display(), index.display())]
    MissingShard { shard: PathBuf, index: PathBuf },
    /// A shard lacks a tensor.
    #[error(
        "tensor `{name}` is missing from `{}`, where `{}` says it is\nhint: index and shards must be of one checkpoint",
        shard.display(), index.display()
    )]
    Misplaced {
        /// Name of the tensor.
        name: String,
        shard: PathBuf,
        index: PathBuf,
    },
    /// Two shards hold one tensor.
    #[error(
        "tensor `{name}` is in `{}` and in `{}`\nhint: the shards must be of one checkpoint",
        first.display(), second.display()
    )]
    Twice {
        /// Name of the tensor.
        name: String,
        /// A shard that holds it.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
    },
}

/// The index of a sharded checkpoint.
#[derive(Debug, Deserialize)]
pub struct ShardIndex {
    /// The shard, a file beside the index, of each tensor.
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// If it is not readable, lists nothing, or names something else than a safetensors file beside it.
    pub fn read(path: &Path) -> Result<Self, WeightsError> {
        let index: Self = serde_json::from_str(&read_text(path)?)
            .map_err(|source| WeightsError::Index { path: path.to_owned(), source })?;
        if index.weight_map.is_empty() {
            return Err(WeightsError::EmptyIndex(path.to_owned()));
        }
        // A path out of the folder is refused.
        let plain = |name: &str| name.ends_with(".safetensors") && !name.contains(['/', '\\', ':']);
        match index.weight_map.iter().find(|(_, shard)| !plain(shard)) {
            None => Ok(index),
            Some((name, shard)) => Err(WeightsError::ShardName {
                index: path.to_owned(),
                name: name.clone(),
                shard: shard.clone(),
            }),
        }
    }

    /// Names of the shards, sorted.
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// The files that hold the weights in `folder`: the index, if there is one, then the safetensors files by name. The files
/// need not exist.
///
/// # Errors
/// If the index is unusable, or there are only weights in another format.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.is_file() {
        return Ok(vec![single]);
    }
    if index.is_file() {
        let shards = ShardIndex::read(&index)?;
        let files = shards.shards().into_iter().map(|shard| folder.join(shard));
        return Ok([index.clone()].into_iter().chain(files).collect());
    }
    match FOREIGN.into_iter().find(|name| folder.join(name).is_file()) {
        Some(found) => Err(WeightsError::Foreign { folder: folder.to_owned(), found }),
        None => Ok(vec![single]),
    }
}

/// Named tensors in one file or several, mapped into memory and read one by one.
#[derive(Debug)]
pub struct Weights {
    /// The single file, or the index.
    path: PathBuf,
    files: Vec<TensorFile>,
    shapes: BTreeMap<String, Vec<usize>>,
    /// The file of each tensor.
    places: BTreeMap<String, usize>,
}

impl Weights {
    /// Opens the weights of a folder. A single file takes precedence over shards, as in transformers.
    ///
    /// # Errors
    /// If a file is missing or unusable, or shards and index disagree; the message names shard and tensor.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let files = weight_files(folder)?;
        let path = files[0].clone();
        if let [single] = &files[..] {
            return Self::of_files(path, vec![TensorFile::open(single)?]);
        }
        let shards = files[1..].iter().map(|shard| match shard.exists() {
            true => Ok(TensorFile::open(shard)?),
            false => Err(WeightsError::MissingShard { shard: shard.clone(), index: path.clone() }),
        });
        let weights = Self::of_files(path.clone(), shards.collect::<Result<_, _>>()?)?;
        for (name, shard) in ShardIndex::read(&path)?.weight_map {
            let shard = folder.join(shard);
            if weights.file_of(&name).is_none_or(|file| file.path() != shard) {
                return Err(WeightsError::Misplaced { name, shard, index: path });
            }
        }
        Ok(weights)
    }

    fn of_files(path: PathBuf, files: Vec<TensorFile>) -> Result<Self, WeightsError> {
        let (mut shapes, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (place, file) in files.iter().enumerate() {
            for (name, shape) in file.shapes() {
                shapes.insert(name.clone(), shape.clone());
                if let Some(other) = places.insert(name.clone(), place) {
                    let [first, second] = [&files[other], file].map(|f| f.path().to_owned());
                    return Err(WeightsError::Twice { name: name.clone(), first, second });
                }
            }
        }
        Ok(Self { path, files, shapes, places })
    }

    fn file_of(&self, name: &str) -> Option<&TensorFile> {
        self.places.get(name).map(|place| &self.files[*place])
    }

    /// The file of a tensor; the index, or the single file, if there is no such tensor.
    pub fn path_of(&self, name: &str) -> &Path {
        self.file_of(name).map_or(&self.path, TensorFile::path)
    }

    /// The single file, or the index.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shapes.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// A float tensor (stored as F32, F16 or BF16) as float32.
    ///
    /// # Errors
    /// If there is no such tensor or it does not hold floats.
    pub fn floats(&self, name: &str) -> Result<HostTensor, TensorError> {
        match self.file_of(name) {
            Some(file) => file.floats(name),
            None => Err(TensorError::Missing { name: name.to_owned(), path: self.path.clone() }),
        }
    }

    /// As [`Weights::floats`], without a copy where the file has float32 (see [`TensorFile::floats_in_place`]).
    ///
    /// # Errors
    /// As [`Weights::floats`].
    pub fn floats_in_place(&self, name: &str) -> Result<TensorRef<'_>, TensorError> {
        match self.file_of(name) {
            Some(file) => file.floats_in_place(name),
            None => Err(TensorError::Missing { name: name.to_owned(), path: self.path.clone() }),
        }
    }

    /// Removes the bytes of the tensor `name` from the memory of this process, if there is one; see
    /// [`TensorFile::floats_in_place`].
    pub fn release(&self, name: &str) {
        if let Some(file) = self.file_of(name) {
            file.release_tensor(name);
        }
    }

    /// Whether two tensors have the same type, shape and bytes; false if one is missing.
    pub fn equal(&self, name: &str, other: &str) -> bool {
        match (self.file_of(name), self.file_of(other)) {
            (Some(a), Some(b)) => a.view(name).is_ok_and(|a| b.view(other).is_ok_and(|b| a == b)),
            _ => false,
        }
    }

    /// Checks that there are exactly the `expected` tensors (name, shape). Those named in `tolerated` may exist besides.
    ///
    /// # Errors
    /// Names the first tensor that is missing, misshapen or unknown.
    pub fn check(
        &self,
        expected: &BTreeMap<String, Vec<usize>>,
        tolerated: &[&str],
    ) -> Result<(), TensorError> {
        check_shapes(&self.shapes, expected, tolerated, |name| self.path_of(name))
    }

    /// Checks that the tensors called `names` hold finite floats only.
    ///
    /// # Errors
    /// Names the first tensor that does not, and its file.
    pub fn check_finite<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str> + Clone,
    ) -> Result<(), TensorError> {
        self.files.iter().try_for_each(|file| file.check_finite(names.clone()))
    }

    /// SHA-256 of the single file; of a sharded checkpoint, that of the lines `HASH  NAME` which `sha256sum` prints for
    /// the index and then the shards by name.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn hash(&self) -> Result<String, FileError> {
        if self.files.len() == 1 && self.files[0].path() == self.path {
            return sha256(&self.path);
        }
        let mut lines = String::new();
        for path in [self.path()].into_iter().chain(self.files.iter().map(TensorFile::path)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Writing to a string cannot fail.
            let _ = writeln!(lines, "{}  {name}", sha256(path)?);
        }
        Ok(hexadecimal(&Sha256::digest(lines)))
    }
}
