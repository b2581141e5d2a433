//! A model file that is mapped into memory, and models that refer to the weights in it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::bytes::Bytes;

use crate::limits::{ALIGNMENT, LARGE, MAX_BYTES};
use crate::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::read::{ReadError, decode_model};

/// `TensorProto.DataLocation.EXTERNAL`: the elements of the tensor are in another file.
const EXTERNAL: i32 = 1;

/// A model file. It is mapped into memory, so that only the parts in use take memory.
#[derive(Debug, Clone)]
pub struct WeightFile {
    path: PathBuf,
    bytes: Bytes,
    /// False for a pipe, which cannot be mapped: its bytes were read, and [`WeightFile::refer`] returns `None`.
    mapped: bool,
}

impl WeightFile {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// Returns [`ReadError`] if the file cannot be read or exceeds 2 GiB, the limit of an ONNX file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
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
        Ok(Self { path: path.into(), bytes, mapped })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decodes the model. Its weights share the mapped bytes of the file.
    ///
    /// # Errors
    /// Returns [`ReadError`], which names the file and the tensor or field at fault.
    pub fn model(&self) -> Result<ModelProto, ReadError> {
        decode_model(self.bytes.clone(), &self.path)
    }

    /// Turns the large weights of `part`, a part of this file's model, into references to this file (ONNX's external data).
    /// Returns the part and the folder that the references are relative to, or `None` if the file was not mapped.
    ///
    /// Unaligned weights keep their elements, because runtimes use referenced elements in place. So do small ones, because
    /// runtimes read shapes and axes when they load a model.
    pub fn refer(&self, part: &ModelProto) -> Option<(ModelProto, String)> {
        // Runtimes refuse a reference that leaves the folder, even through a symbolic link.
        let path = fs::canonicalize(&self.path).ok().filter(|_| self.mapped)?;
        let (folder, name) = (path.parent()?.to_str()?, path.file_name()?.to_str()?);
        let mut part = part.clone();
        for tensor in part.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
            if let Some(offset) = self.offset(tensor) {
                let length = std::mem::take(&mut tensor.raw_data).len();
                let entries = [
                    ("location", name.to_owned()),
                    ("offset", offset.to_string()),
                    ("length", length.to_string()),
                ];
                tensor.external_data =
                    entries.map(|(key, value)| StringStringEntryProto { key: key.into(), value }).into();
                tensor.data_location = EXTERNAL;
            }
        }
        Some((part, folder.into()))
    }

    /// Offset of a tensor's elements in the file, if they are part of it, large and aligned.
    fn offset(&self, tensor: &TensorProto) -> Option<usize> {
        let (file, elements) = (self.bytes.as_ptr_range(), tensor.raw_data.as_ptr_range());
        let inside =
            tensor.raw_data.len() >= LARGE && file.start <= elements.start && elements.end <= file.end;
        let offset = inside.then(|| elements.start as usize - file.start as usize)?;
        (offset % ALIGNMENT == 0).then_some(offset)
    }
}

/// Opens the model in the file `path`. The weights share one map of the file.
///
/// # Errors
/// Returns [`ReadError`], which names the file and the tensor or field at fault.
pub fn read_model(path: &Path) -> Result<ModelProto, ReadError> {
    WeightFile::open(path)?.model()
}
