//! A model file that is mapped into memory, and models that refer to the weights in it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use prost::bytes::Bytes;

use crate::proto::{ModelProto, StringStringEntryProto, TensorProto};
use crate::read::{MAX_BYTES, ReadError, decode_model};
use crate::write::{ALIGNMENT, LARGE};

/// A tensor's elements lie in another file, `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// A model file. Its bytes are mapped, not read: what nobody looks at takes no memory.
#[derive(Debug, Clone)]
pub struct WeightFile {
    path: PathBuf,
    bytes: Bytes,
    /// What cannot be mapped (a pipe) is read, and cannot be referred to.
    mapped: bool,
}

impl WeightFile {
    /// Opens the file `path`.
    ///
    /// # Errors
    /// [`ReadError`] if it cannot be read or is larger than any model.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let io_error = |source| ReadError::Io { path: path.into(), source };
        let check = |bytes| match bytes > MAX_BYTES {
            true => Err(ReadError::TooLarge { path: path.into(), bytes }),
            false => Ok(()),
        };
        check(fs::metadata(path).map_err(io_error)?.len())?;
        let file = File::open(path).map_err(io_error)?;
        // SAFETY: the map is only read; a file that another process cuts short meanwhile is outside our contract, as for
        // every reader of mapped weights. `hl-export` replaces whole files.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) };
        let mapped = map.is_ok();
        let bytes = match map {
            Ok(map) => Bytes::from_owner(map),
            Err(_) => {
                let mut bytes = Vec::new();
                // A pipe may never end.
                file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
                check(bytes.len() as u64)?;
                bytes.into()
            }
        };
        Ok(Self { path: path.into(), bytes, mapped })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The model; its weights share the file's bytes.
    ///
    /// # Errors
    /// [`ReadError`] names the file, and the tensor or field where one is at fault.
    pub fn model(&self) -> Result<ModelProto, ReadError> {
        decode_model(self.bytes.clone(), &self.path)
    }

    /// A part of this file's model, with references in place of the weights that lie in the file, and the folder that they
    /// are relative to. `None` if nothing can refer to the file.
    ///
    /// Weights that are not aligned stay, for runtimes use elements where they lie, and so do small ones, which they may want
    /// to know early: shapes and axes.
    pub fn refer(&self, part: &ModelProto) -> Option<(ModelProto, String)> {
        // Runtimes refuse to leave the folder, be it through a link.
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

    /// Where in the file a large tensor's elements lie, if they do and are aligned.
    fn offset(&self, tensor: &TensorProto) -> Option<usize> {
        let (file, elements) = (self.bytes.as_ptr_range(), tensor.raw_data.as_ptr_range());
        let inside =
            tensor.raw_data.len() >= LARGE && file.start <= elements.start && elements.end <= file.end;
        let offset = inside.then(|| elements.start as usize - file.start as usize)?;
        (offset % ALIGNMENT == 0).then_some(offset)
    }
}
