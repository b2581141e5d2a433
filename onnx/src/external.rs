//! External data: weights in files beside the model file, as ONNX defines them.
//!
//! A tensor names a file in the model's folder, an offset and a length. The names come from an untrusted file: a data file
//! must lie in the folder of the model file itself, after symbolic links are followed, and hold all bytes that the tensor's
//! shape requires.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use memmap2::Mmap;
use prost::bytes::Bytes;

use crate::error::ReadError;
use crate::proto::{ModelProto, StringStringEntryProto, TensorProto};

/// `TensorProto.DataLocation.EXTERNAL`: the elements of the tensor are in another file.
const EXTERNAL: i32 = 1;

/// The place of some weights in a data file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct External {
    /// Name of the data file, in the folder of the model file.
    pub location: String,
    /// Offset of each weight's elements in the data file, by name.
    pub offsets: BTreeMap<String, u64>,
}

/// A data file, mapped into memory.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// The name by which tensors refer to it.
    name: String,
    /// Its path, after symbolic links are followed.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Bytes,
}

/// Makes `tensor` refer to `length` bytes at `offset` of the file `location`.
pub(crate) fn refer_to(tensor: &mut TensorProto, location: &str, offset: u64, length: usize) {
    let entries =
        [("location", location.to_owned()), ("offset", offset.to_string()), ("length", length.to_string())];
    tensor.external_data =
        entries.map(|(key, value)| StringStringEntryProto { key: key.into(), value }).into();
    tensor.data_location = EXTERNAL;
}

/// Names of the data files that `model` refers to; it was read from `path`.
///
/// # Errors
/// Returns an error if a name is not that of a file in the model's folder.
pub(crate) fn data_names(model: &ModelProto, path: &Path) -> Result<BTreeSet<String>, ReadError> {
    let mut names = BTreeSet::new();
    for tensor in tensors(model).filter(|tensor| is_external(tensor)) {
        names.insert(Reference::of(tensor).map_err(|reason| fault(path, &tensor.name, reason))?.location);
    }
    Ok(names)
}

/// Maps all data files that `model` refers to; it was read from `path`.
///
/// # Errors
/// Returns an error if a name is not that of a file in the model's folder, or the file cannot be opened.
pub(crate) fn open_data(model: &ModelProto, path: &Path) -> Result<Vec<DataFile>, ReadError> {
    let names = data_names(model, path)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let folder = fs::canonicalize(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
    names.into_iter().map(|name| DataFile::open(name, path, folder.parent())).collect()
}

/// Gives each tensor of `model` that refers to one of `files` its elements, which share the mapped bytes.
///
/// # Errors
/// Returns an error if a file has not all of the bytes.
pub(crate) fn resolve(model: &mut ModelProto, files: &[DataFile], path: &Path) -> Result<(), ReadError> {
    let tensors = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    for tensor in tensors.filter(|tensor| is_external(tensor)) {
        let elements = Reference::of(tensor).and_then(|reference| reference.elements(files));
        tensor.raw_data = elements.map_err(|reason| fault(path, &tensor.name, reason))?;
        tensor.external_data.clear();
        tensor.data_location = 0;
    }
    Ok(())
}

fn tensors(model: &ModelProto) -> impl Iterator<Item = &TensorProto> {
    model.graph.iter().flat_map(|graph| &graph.initializer)
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == EXTERNAL
}

fn fault(path: &Path, tensor: &str, reason: String) -> ReadError {
    ReadError::External { path: path.into(), tensor: tensor.to_owned(), reason }
}

impl DataFile {
    /// Opens the file `name` beside the model file `model`, which lies in `folder` after symbolic links are followed.
    fn open(name: String, model: &Path, folder: Option<&Path>) -> Result<Self, ReadError> {
        // A link to the model may lie elsewhere than the model and its data.
        let named = model.with_file_name(&name);
        let linked = || folder.map(|folder| folder.join(&name)).filter(|path| path.exists());
        let path = if named.exists() { named } else { linked().unwrap_or(named) };
        let error = |source| ReadError::Data { path: path.clone(), model: model.into(), source };
        let found = fs::canonicalize(&path).map_err(error)?;
        if found.parent() != folder {
            let reason = format!("`{name}` leads out of the model's folder, to `{}`", found.display());
            return Err(ReadError::NotAModel { path: model.into(), reason });
        }
        if !fs::metadata(&found).map_err(error)?.is_file() {
            return Err(error(std::io::Error::other("it is not a regular file")));
        }
        let file = File::open(&found).map_err(error)?;
        // SAFETY: as for the model file: the map is only read, and `hl-export` never changes a file in place.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(error)?;
        Ok(Self { name, path: found, bytes: Bytes::from_owner(map) })
    }

    /// Its name in its folder, after symbolic links are followed.
    pub(crate) fn file_name(&self) -> Option<&str> {
        self.path.file_name()?.to_str()
    }
}

/// Where a tensor's elements are.
struct Reference {
    location: String,
    offset: usize,
    /// The rest of the file where absent.
    length: Option<usize>,
}

impl Reference {
    fn of(tensor: &TensorProto) -> Result<Self, String> {
        let value = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key);
        let number = |key: &str| match value(key) {
            None => Ok(None),
            Some(entry) => entry
                .value
                .parse::<usize>()
                .map(Some)
                .map_err(|_| format!("its `{key}` is `{}`, expected a number of bytes", entry.value)),
        };
        let location = value("location").map(|entry| entry.value.clone()).ok_or("it names no file")?;
        let mut components = Path::new(&location).components();
        if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
            return Err(format!("`{location}` is not the name of a file in the model's folder"));
        }
        Ok(Self { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }

    fn elements(&self, files: &[DataFile]) -> Result<Bytes, String> {
        let Self { location, offset, length } = self;
        let file = files.iter().find(|file| file.name == *location).ok_or("its file is not open")?;
        let size = file.bytes.len();
        let end = length.map_or(Some(size), |length| offset.checked_add(length));
        match end.filter(|end| offset <= end && *end <= size) {
            Some(end) => Ok(file.bytes.slice(*offset..end)),
            None => Err(format!(
                "`{location}` has {size} bytes, but the tensor is {} bytes at {offset}",
                length.map_or("some".to_owned(), |length| length.to_string())
            )),
        }
    }
}
