//! A model file and the data files beside it, mapped into memory, and models that refer to the weights in them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::bytes::Bytes;

use crate::error::ReadError;
use crate::external::{DataFile, data_names, open_data, refer_to};
use crate::limits::{ALIGNMENT, LARGE, MAX_BYTES};
use crate::proto::{ModelProto, TensorProto};
use crate::read::{decode_unchecked, decode_with};

/// A model file and the data files that it refers to. They are mapped into memory, so that only the parts in use take memory.
#[derive(Debug, Clone)]
pub struct WeightFile {
    path: PathBuf,
    bytes: Bytes,
    /// False for a pipe, which cannot be mapped: its bytes were read, and [`WeightFile::refer`] returns `None`.
    mapped: bool,
    data: Vec<DataFile>,
}

impl WeightFile {
    /// Opens the file `path` and the data files that it refers to.
    ///
    /// # Errors
    /// Returns [`ReadError`] if a file cannot be read, the model file exceeds 2 GiB, the limit of an ONNX file, or a data file
    /// is outside of the model's folder.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let (bytes, mapped) = map(path)?;
        let data = open_data(&decode_unchecked(bytes.clone(), path)?, path)?;
        Ok(Self { path: path.into(), bytes, mapped, data })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Paths of the model file and of all data files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.data.iter().map(|file| file.path.as_path()))
    }

    /// Decodes the model. Its weights share the mapped bytes of the files.
    ///
    /// # Errors
    /// Returns [`ReadError`], which names the file and the tensor or field at fault.
    pub fn model(&self) -> Result<ModelProto, ReadError> {
        decode_with(self.bytes.clone(), &self.data, &self.path)
    }

    /// Turns the large weights of `part`, a part of this file's model, into references to the files (ONNX's external data).
    /// Returns the part and the folder that the references are relative to, or `None` if the model file was not mapped.
    ///
    /// Unaligned weights keep their elements, because runtimes use referenced elements in place. So do small ones, because
    /// runtimes read shapes and axes when they load a model.
    pub fn refer(&self, part: &ModelProto) -> Option<(ModelProto, String)> {
        // Runtimes refuse a reference that leaves the folder, even through a symbolic link.
        let path = fs::canonicalize(&self.path).ok().filter(|_| self.mapped)?;
        let (folder, name) = (path.parent()?.to_str()?, path.file_name()?.to_str()?);
        let mut part = part.clone();
        for tensor in part.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            let in_model = offset(&self.bytes, tensor).map(|offset| (name, offset));
            let in_data =
                || self.data.iter().find_map(|file| Some((file.file_name()?, offset(&file.bytes, tensor)?)));
            if let Some((location, offset)) = in_model.or_else(in_data) {
                let length = std::mem::take(&mut tensor.raw_data).len();
                refer_to(tensor, location, offset as u64, length);
            }
        }
        Some((part, folder.into()))
    }
}

/// The bytes of the file `path`, and whether they are mapped.
fn map(path: &Path) -> Result<(Bytes, bool), ReadError> {
    let io_error = |source| ReadError::Io { path: path.into(), source };
    let check = |bytes| match bytes > MAX_BYTES {
        true => Err(ReadError::TooLarge { path: path.into(), bytes }),
        false => Ok(()),
    };
    check(fs::metadata(path).map_err(io_error)?.len())?;
    let file = File::open(path).map_err(io_error)?;
    // SAFETY: the map is only read. Another process must not truncate the file in the meantime; every reader of
    // mapped weights has this condition. `hl-export` replaces files as a whole and never changes one in place.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) };
    let mapped = map.is_ok();
    let bytes = match map {
        Ok(map) => Bytes::from_owner(map),
        Err(_) => {
            let mut bytes = Vec::new();
            // A pipe may be endless, so that the number of bytes is limited.
            file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
            check(bytes.len() as u64)?;
            bytes.into()
        }
    };
    Ok((bytes, mapped))
}

/// Paths of the data files that the model file `path` refers to, beside it. They need not exist.
///
/// # Errors
/// Returns [`ReadError`] if the file cannot be read, or a name is not that of a file in the model's folder.
pub fn data_files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let names = data_names(&decode_unchecked(map(path)?.0, path)?, path)?;
    Ok(names.into_iter().map(|name| path.with_file_name(name)).collect())
}

/// Offset of a tensor's elements in the bytes of a file, if they are part of it, large and aligned.
fn offset(file: &Bytes, tensor: &TensorProto) -> Option<usize> {
    let (file, elements) = (file.as_ptr_range(), tensor.raw_data.as_ptr_range());
    let inside = tensor.raw_data.len() >= LARGE && file.start <= elements.start && elements.end <= file.end;
    let offset = inside.then(|| elements.start as usize - file.start as usize)?;
    (offset % ALIGNMENT == 0).then_some(offset)
}

/// Opens the model in the file `path`. The weights share one map of the file.
///
/// # Errors
/// Returns [`ReadError`], which names the file and the tensor or field at fault.
pub fn read_model(path: &Path) -> Result<ModelProto, ReadError> {
    WeightFile::open(path)?.model()
}
