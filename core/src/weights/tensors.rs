//! Tensors in main memory and in safetensors files, whose headers are checked first and whose tensors are read one by one
//! from a memory map.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{Metadata, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::finite;
use super::float::{bf16, f16};
use crate::files::{FileError, open_regular, write_atomic};

/// A tensor in main memory, row-major float32.
pub type HostTensor = ArrayD<f32>;

/// Named tensors, in the order of their names.
pub type Tensors = BTreeMap<String, HostTensor>;

/// A tensor file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is a Git LFS pointer to a file that was not fetched.
    #[error("`{}` is a pointer of Git LFS, not the file itself\nhint: `git lfs pull` in that folder fetches it", .0.display())]
    LfsPointer(PathBuf),
    /// The file is not a whole safetensors file.
    #[error("`{}` is not a complete safetensors file\nhint: it may be truncated; fetch or write it again", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The result of the format check.
        source: SafeTensorError,
    },
    /// A tensor could not be written as safetensors.
    #[error("cannot write tensors to `{}`", path.display())]
    Serialize {
        /// Path of the file.
        path: PathBuf,
        /// The underlying error.
        source: SafeTensorError,
    },
    /// A tensor is missing.
    #[error("tensor `{name}` is missing from `{}`", path.display())]
    Missing {
        /// Name of the tensor.
        name: String,
        /// Path of the file.
        path: PathBuf,
    },
    /// A tensor has an element type that is not read.
    #[error("tensor `{name}` in `{}` has element type {dtype}, expected {expected}", path.display())]
    ElementType {
        /// Name of the tensor.
        name: String,
        /// Path of the file.
        path: PathBuf,
        /// The element type found.
        dtype: String,
        /// The element types that are read.
        expected: &'static str,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor `{name}` in `{}` has shape {found:?}, expected {expected:?}", path.display())]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Path of the file.
        path: PathBuf,
        /// The shape found.
        found: Vec<usize>,
        /// The shape that the configuration implies.
        expected: Vec<usize>,
    },
    /// A tensor holds a number that is infinite or not a number.
    #[error(
        "tensor `{name}` in `{}` is not finite: {value} at {indices:?}\nhint: it may have overflowed when it was saved in half precision; save it in float32 or bfloat16, or fetch it again",
        path.display()
    )]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// Path of the file.
        path: PathBuf,
        /// The first number that is not finite.
        value: f32,
        /// Its indices.
        indices: Vec<usize>,
    },
    /// The file holds a tensor that the model does not have.
    #[error("tensor `{name}` in `{}` is not part of this model\nhint: does the configuration beside it belong to another model?", path.display())]
    Unknown {
        /// Name of the tensor.
        name: String,
        /// Path of the file.
        path: PathBuf,
    },
}

/// One safetensors file, mapped into memory. Its header is checked when it is opened: sizes, offsets, element types.
#[derive(Debug)]
pub struct TensorFile {
    /// Path of the file.
    path: PathBuf,
    /// The whole file.
    map: Mmap,
    /// Offset in bytes of the data in the map. The offsets in `metadata` count from there.
    data: usize,
    /// Element type, shape and offsets of every tensor, from the header.
    metadata: Metadata,
    /// Shape of every tensor, by name.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl TensorFile {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// If it cannot be read, or its header does not describe exactly its bytes.
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        let file = open_regular(path)?;
        // SAFETY: the map is only read. Another process must not truncate the file meanwhile, as with every reader of
        // mapped checkpoints.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(|e| FileError::new("read", path, e))?;
        if map.starts_with(b"version https://git-lfs") {
            return Err(TensorError::LfsPointer(path.to_owned()));
        }
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|source| TensorError::Format { path: path.to_owned(), source })?;
        let shapes = metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect();
        Ok(Self { path: path.to_owned(), map, data: HEADER_LENGTH + header, metadata, shapes })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name and shape of every tensor.
    pub fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    /// Element type, shape and bytes of a tensor in the file.
    pub(crate) fn view(&self, name: &str) -> Result<TensorView<'_>, TensorError> {
        let missing = || TensorError::Missing { name: name.to_owned(), path: self.path.clone() };
        let info = self.metadata.info(name).ok_or_else(missing)?;
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data + start..self.data + end];
        TensorView::new(info.dtype, info.shape.clone(), bytes)
            .map_err(|source| TensorError::Format { path: self.path.clone(), source })
    }

    fn element_type(&self, name: &str, found: Dtype, expected: &'static str) -> TensorError {
        TensorError::ElementType {
            name: name.to_owned(),
            path: self.path.clone(),
            dtype: format!("{found:?}"),
            expected,
        }
    }

    /// A float tensor (stored as F32, F16 or BF16) as float32.
    ///
    /// # Errors
    /// If there is no such tensor or it does not hold floats.
    pub fn floats(&self, name: &str) -> Result<HostTensor, TensorError> {
        let view = self.view(name)?;
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::BF16 => bytes.as_chunks::<2>().0.iter().map(|b| bf16(*b)).collect(),
            Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|b| f16(*b)).collect(),
            other => return Err(self.element_type(name, other, FLOAT_NAMES)),
        };
        self.release(bytes);
        self.shaped(name, view.shape(), values)
    }

    /// Removes `bytes`, a part of the map, from the memory of this process. The next access reads them again, mostly from the
    /// system's cache. Otherwise a model whose tensors were copied would occupy its memory twice.
    pub(super) fn release(&self, bytes: &[u8]) {
        #[cfg(unix)]
        {
            let offset = bytes.as_ptr() as usize - self.map.as_ptr() as usize;
            // SAFETY: the map is a read-only view of a file, so the pages have the same contents when they are read again.
            // It is advice: if the system refuses it, the pages stay.
            #[allow(unsafe_code)]
            let _ =
                unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) };
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }

    /// Checks that the tensors called `names`, as far as they are in this file, are of a float type and hold finite numbers
    /// only.
    ///
    /// # Errors
    /// Names the first tensor that does not, with the place of its number.
    pub fn check_finite<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), TensorError> {
        for name in names.into_iter().filter(|name| self.shapes.contains_key(*name)) {
            let view = self.view(name)?;
            if !FLOATS.contains(&view.dtype()) {
                return Err(self.element_type(name, view.dtype(), FLOAT_NAMES));
            }
            let found = finite::first_not_finite(view.dtype(), view.data());
            self.release(view.data());
            if let Some((flat, value)) = found {
                let indices = finite::indices(flat, view.shape());
                return Err(TensorError::NotFinite {
                    name: name.to_owned(),
                    path: self.path.clone(),
                    value,
                    indices,
                });
            }
        }
        Ok(())
    }

    /// An integer tensor (I64).
    ///
    /// # Errors
    /// If there is no such tensor or it does not hold 64-bit integers.
    pub fn integers(&self, name: &str) -> Result<ArrayD<i64>, TensorError> {
        let view = self.view(name)?;
        match view.dtype() {
            Dtype::I64 => {
                let values = view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
                self.shaped(name, view.shape(), values)
            }
            other => Err(self.element_type(name, other, "I64")),
        }
    }

    /// `values` as an array of this shape. `name` is for the error.
    fn shaped<T>(&self, name: &str, shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, TensorError> {
        let found = vec![values.len()];
        ArrayD::from_shape_vec(IxDyn(shape), values).map_err(|_| TensorError::Shape {
            name: name.to_owned(),
            path: self.path.clone(),
            found,
            expected: shape.to_vec(),
        })
    }

    /// Checks that the file holds exactly the `expected` tensors (name, shape). Those named in `tolerated` may exist besides.
    ///
    /// # Errors
    /// Names the first tensor that is missing, misshapen or unknown.
    pub fn check(
        &self,
        expected: &BTreeMap<String, Vec<usize>>,
        tolerated: &[&str],
    ) -> Result<(), TensorError> {
        check_shapes(&self.shapes, expected, tolerated, |_| self.path())
    }

    /// All float tensors of the file.
    ///
    /// # Errors
    /// If one is not of a float type.
    pub fn read_all(&self) -> Result<Tensors, TensorError> {
        self.shapes.keys().map(|name| Ok((name.clone(), self.floats(name)?))).collect()
    }
}

/// Bytes of the length that a safetensors file begins with.
const HEADER_LENGTH: usize = 8;

/// The element types that are read as floats.
const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::BF16];
const FLOAT_NAMES: &str = "F32, F16 or BF16";

/// [`TensorFile::check`] on any tensors: `found` by name and shape, each in the file that `path_of` gives.
pub(crate) fn check_shapes<'a>(
    found: &BTreeMap<String, Vec<usize>>,
    expected: &BTreeMap<String, Vec<usize>>,
    tolerated: &[&str],
    path_of: impl Fn(&str) -> &'a Path,
) -> Result<(), TensorError> {
    let path = |name: &str| path_of(name).to_owned();
    for (name, expected) in expected {
        match found.get(name) {
            None => return Err(TensorError::Missing { name: name.clone(), path: path(name) }),
            Some(found) if found != expected => {
                let (found, expected) = (found.clone(), expected.clone());
                return Err(TensorError::Shape { name: name.clone(), path: path(name), found, expected });
            }
            Some(_) => {}
        }
    }
    let known = |name: &String| expected.contains_key(name) || tolerated.contains(&name.as_str());
    match found.keys().find(|name| !known(name)) {
        Some(name) => Err(TensorError::Unknown { name: name.clone(), path: path(name) }),
        None => Ok(()),
    }
}

/// Writes tensors as a safetensors file (float32), complete or absent.
///
/// # Errors
/// Any error of the file system.
pub fn write_tensors(path: &Path, tensors: &Tensors) -> Result<(), TensorError> {
    let format = |source| TensorError::Serialize { path: path.to_owned(), source };
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, t)| {
            let data = t.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.as_str(), t.shape().to_vec(), data)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, data)| {
            Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data).map_err(format)?))
        })
        .collect::<Result<Vec<_>, TensorError>>()?;
    let file = safetensors::serialize(views, None).map_err(format)?;
    write_atomic(path, |w| w.write_all(&file))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn written() -> (tempfile::TempDir, PathBuf, Tensors) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let tensors = Tensors::from([
            ("a".to_owned(), array![[1.0f32, -2.5], [0.0, 3.0]].into_dyn()),
            ("b.c".to_owned(), array![7.0f32].into_dyn()),
        ]);
        write_tensors(&path, &tensors).unwrap();
        (folder, path, tensors)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (_folder, path, tensors) = written();
        assert_eq!(TensorFile::open(&path).unwrap().read_all().unwrap(), tensors);
    }

    #[test]
    fn every_float_type_is_read_as_float32_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let values = [1.5f32, -0.25, 1024.0, 0.0];
        let bytes: [(Dtype, Vec<u8>); 4] = [
            (Dtype::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
            (Dtype::F16, values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect()),
            (Dtype::BF16, values.iter().flat_map(|x| half::bf16::from_f32(*x).to_le_bytes()).collect()),
            (Dtype::F64, values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect()),
        ];
        let views = bytes
            .iter()
            .map(|(dtype, data)| (format!("{dtype:?}"), TensorView::new(*dtype, vec![2, 2], data).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let file = TensorFile::open(&path).unwrap();
        for name in ["F32", "F16", "BF16"] {
            assert_eq!(file.floats(name).unwrap().into_raw_vec_and_offset().0, values, "{name}");
        }
        let message = file.floats("F64").unwrap_err().to_string();
        assert!(message.contains("`F64`") && message.contains("element type F64"), "{message}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let (folder, path, _) = written();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            let cut = folder.path().join("cut");
            std::fs::write(&cut, &bytes[..length]).unwrap();
            assert!(TensorFile::open(&cut).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn missing_misshapen_and_unknown_tensors_are_named() {
        let (_folder, path, _) = written();
        let file = TensorFile::open(&path).unwrap();
        let expect = |shapes: &[(&str, &[usize])]| {
            let map = shapes.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect();
            file.check(&map, &[]).map_err(|e| e.to_string())
        };
        assert!(expect(&[("a", &[2, 2]), ("b.c", &[1])]).is_ok());
        assert!(expect(&[("a", &[2, 2])]).unwrap_err().contains("`b.c`"));
        assert!(expect(&[("a", &[4]), ("b.c", &[1])]).unwrap_err().contains("[2, 2], expected [4]"));
        assert!(expect(&[("z", &[1])]).unwrap_err().contains("`z` is missing"));
    }
}
