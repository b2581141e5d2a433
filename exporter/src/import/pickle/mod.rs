//! Reads the tensors of a file that `torch.save` wrote (`pytorch_model.bin`), without running anything in it.
//!
//! The file is a ZIP archive: `data.pkl` describes the tensors, and each file in `data/` holds the elements of some.
//!
//! - `error`: [`PickleError`] and [`PickleFault`]
//! - `machine`: interprets `data.pkl`

mod error;
mod machine;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use half::{bf16, f16};
use hyperloader_core::files::{FileError, open_regular};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use ndarray::{ArrayD, Dimension, IxDyn};
use zip::ZipArchive;

pub use self::error::{PickleError, PickleFault};
use self::machine::{Elements, Item, Storage, TensorItem};

/// The largest `data.pkl`: far more than the names and shapes of any model take.
const MAX_PICKLE: u64 = 16 << 20;

/// All tensors of the file `path` as float32.
///
/// # Errors
/// [`PickleError`] if it is no archive of tensors, or names anything but tensors.
pub fn read_tensors(path: &Path) -> Result<Tensors, PickleError> {
    let fault = |source| PickleError::Pickle { path: path.to_owned(), source };
    let mut archive = Archive::open(path)?;
    let bytes = archive.read("data.pkl", MAX_PICKLE)?;
    let items = dictionary(machine::load(&bytes).map_err(fault)?).map_err(fault)?;
    let mut storages: HashMap<String, Vec<f32>> = HashMap::new();
    let mut tensors = Tensors::new();
    for (name, tensor) in items {
        let Storage { elements, key, len } = &tensor.storage;
        if *elements == Elements::Other {
            return Err(fault(PickleFault::Elements { name }));
        }
        if !storages.contains_key(key) {
            let size = size(*elements);
            let bytes = archive.exactly(&format!("data/{key}"), (len.saturating_mul(size)) as u64)?;
            storages.insert(key.clone(), floats(*elements, &bytes));
        }
        let values = storages.get(key).map_or(&[][..], Vec::as_slice);
        let tensor = view(&name, &tensor, values).map_err(fault)?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}

/// The archive of a checkpoint.
struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
    /// The folder in the archive that holds all files.
    folder: String,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, PickleError> {
        let failed = |source| PickleError::Archive { path: path.to_owned(), source };
        let zip = ZipArchive::new(BufReader::new(open_regular(path)?)).map_err(failed)?;
        let folder = |name: Cow<'_, str>| name.strip_suffix("data.pkl").map(str::to_owned);
        let description = zip.file_names().filter_map(Result::ok).find_map(folder);
        let missing = || PickleError::Missing { path: path.to_owned(), name: "data.pkl".to_owned() };
        let folder = description.ok_or_else(missing)?;
        let mut archive = Self { path, zip, folder };
        let order = archive.read("byteorder", 16).unwrap_or_default();
        match order.starts_with(b"big") {
            true => Err(PickleError::Pickle { path: path.to_owned(), source: PickleFault::BigEndian }),
            false => Ok(archive),
        }
    }

    /// The file `name`, of which at most `most` bytes are read.
    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, PickleError> {
        let path = || self.path.to_owned();
        let full = format!("{}{name}", self.folder);
        let file = self.zip.by_name(&full);
        let file = file.map_err(|_| PickleError::Missing { path: path(), name: full.clone() })?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).map_err(|error| FileError::new("read", self.path, error))?;
        Ok(bytes)
    }
}

impl Archive<'_> {
    /// The file `name`, which has `size` bytes and is not compressed: a small archive cannot become large.
    fn exactly(&mut self, name: &str, size: u64) -> Result<Vec<u8>, PickleError> {
        let full = format!("{}{name}", self.folder);
        let found = self.zip.by_name(&full).map(|file| (file.size(), file.compressed_size()));
        match found {
            Ok((found, stored)) if (found, stored) != (size, size) => Err(PickleError::Pickle {
                path: self.path.to_owned(),
                source: PickleFault::Size { name: full, found: stored, expected: size },
            }),
            _ => self.read(name, size),
        }
    }
}

/// The named tensors of a pickle: a dictionary of tensors, or one that holds it as `state_dict`.
fn dictionary(item: Item) -> Result<Vec<(String, TensorItem)>, PickleFault> {
    let not_tensors = |found: &str| PickleFault::NotTensors { found: found.to_owned() };
    let Item::Dict(mut entries, _) = item else { return Err(not_tensors("another object")) };
    let is_state = |(key, value): &(Item, Item)| {
        *key == Item::Text("state_dict".into()) && matches!(value, Item::Dict(..))
    };
    if let Some(place) = entries.iter().position(is_state) {
        return dictionary(entries.swap_remove(place).1);
    }
    let entry = |(key, value)| match (key, value) {
        (Item::Text(name), Item::Tensor(tensor)) => Ok((name.to_string(), tensor)),
        (Item::Text(name), _) => Err(not_tensors(&format!("`{name}` is none"))),
        _ => Err(not_tensors("a key is no text")),
    };
    entries.into_iter().map(entry).collect()
}

fn size(elements: Elements) -> usize {
    match elements {
        Elements::F64 => 8,
        Elements::F32 => 4,
        Elements::F16 | Elements::Bf16 => 2,
        Elements::Other => 1,
    }
}

fn floats(elements: Elements, bytes: &[u8]) -> Vec<f32> {
    fn of<const N: usize>(bytes: &[u8], float: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| float(*chunk)).collect()
    }
    match elements {
        Elements::F64 => of(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        Elements::F32 => of(bytes, f32::from_le_bytes),
        Elements::F16 => of(bytes, |chunk| f16::from_le_bytes(chunk).to_f32()),
        Elements::Bf16 => of(bytes, |chunk| bf16::from_le_bytes(chunk).to_f32()),
        Elements::Other => Vec::new(),
    }
}

/// The elements of a tensor, which must lie in `values`. A tensor has no more elements than its storage.
fn view(name: &str, tensor: &TensorItem, values: &[f32]) -> Result<HostTensor, PickleFault> {
    let TensorItem { offset, shape, strides, .. } = tensor;
    let bounds = || PickleFault::Bounds { name: name.to_owned(), shape: shape.clone(), len: values.len() };
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size)).ok_or_else(bounds)?;
    if count > values.len() || strides.len() != shape.len() {
        return Err(bounds());
    }
    let steps = shape.iter().zip(strides);
    let mut last = steps.map(|(size, stride)| size.saturating_sub(1).checked_mul(*stride));
    let last = last.try_fold(*offset, |at, step| at.checked_add(step?)).ok_or_else(bounds)?;
    if count > 0 && last >= values.len() {
        return Err(bounds());
    }
    let element = |index: IxDyn| {
        let place = index.slice().iter().zip(strides).map(|(at, stride)| at * stride);
        values[offset + place.sum::<usize>()]
    };
    Ok(ArrayD::from_shape_fn(IxDyn(shape), element))
}
