//! Files of tensors as `torch.save` writes them.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use hyperloader_core::weights::tensors::Tensors;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Writes a state dictionary of float32 tensors.
pub(crate) fn write(path: &Path, tensors: &Tensors) {
    let keys: Vec<String> = (0..tensors.len()).map(|key| key.to_string()).collect();
    let entries = tensors.iter().zip(&keys);
    let pickle = pickle(entries.map(|((name, tensor), key)| (name.as_str(), key.as_str(), tensor.shape())));
    let data: Vec<Vec<u8>> =
        tensors.values().map(|tensor| tensor.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let data: Vec<(&str, &[u8])> =
        keys.iter().map(String::as_str).zip(data.iter().map(Vec::as_slice)).collect();
    write_raw(path, &pickle, &data);
}

/// Writes an archive with this `data.pkl` and these files in `data/`.
pub(crate) fn write_raw(path: &Path, pickle: &[u8], data: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let files = data.iter().map(|(key, bytes)| (format!("archive/data/{key}"), *bytes));
    for (name, bytes) in [("archive/data.pkl".to_owned(), pickle)].into_iter().chain(files) {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// The pickle of a state dictionary: name, key of the storage and shape of each tensor.
pub(crate) fn pickle<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a str, &'a [usize])>) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let number = |out: &mut Vec<u8>, number: usize| {
        out.push(b'J');
        out.extend((number as u32).to_le_bytes());
    };
    for (name, key, shape) in tensors {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, key);
        text(&mut out, "cpu");
        // The first tensor of a test has a wrong shape: its storage is as long as it is in the archive.
        number(&mut out, if shape == [1 << 20, 1 << 20] { 4 } else { shape.iter().product() });
        out.extend(b"tQK\x00(");
        shape.iter().for_each(|size| number(&mut out, *size));
        out.extend(b"t(");
        (0..shape.len()).for_each(|at| number(&mut out, shape[at + 1..].iter().product()));
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}
