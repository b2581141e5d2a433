//! Alignment of the weights in a cache entry.
//!
//! ONNX Runtime 1.31 writes initializers, and the weights that it has laid out for its products ("prepacked"), one after
//! the other into the external file, and aligns only those above about 1 MB. It maps them from there, and its AVX-512
//! kernels read them with aligned 64-byte loads, which end the process with SIGSEGV at any other address. A map begins at
//! a page, so a multiple of 64 in the file is a multiple of 64 in memory.
//!
//! A tensor's entries in `external_data` are `location`, `offset` and `length` of its elements and, for each set of
//! prepacked weights, `prepacked_N` = `key|offset;length;checksum`, with one `|offset;length;checksum` for each buffer.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use hyperloader_onnx::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use prost::Message;

/// Buffers begin at multiples of as many bytes: the width of the widest aligned load (AVX-512).
const ALIGNMENT: u64 = 64;
/// Begins the keys of prepacked weights.
const PREPACKED: &str = "prepacked";

/// The weights of an entry cannot be aligned, or are not.
#[derive(Debug, thiserror::Error)]
pub(super) enum AlignError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The graph's file is no ONNX model.
    #[error("the cached graph is not an ONNX model")]
    Graph(#[from] prost::DecodeError),
    /// The graph refers to its weights in a form that this version does not know.
    #[error("tensor `{tensor}` has the external data `{key}` = `{value}`, which this version does not know")]
    Form {
        /// Name of the tensor.
        tensor: String,
        /// Key of the entry.
        key: String,
        value: String,
    },
    /// A buffer is not where it can be mapped from.
    #[error(
        "tensor `{tensor}` has {length} bytes at offset {offset} of a file of {file} bytes, expected a multiple of \
         {ALIGNMENT} and an end within the file"
    )]
    Place {
        /// Name of the tensor.
        tensor: String,
        /// First byte in the file.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Size of the file in bytes.
        file: u64,
    },
}

/// Bytes of the weights' file: `offset` and `length`.
type Place = (u64, u64);

/// Moves every buffer of the graph in the file `graph` to an aligned place of the file `weights` beside it.
///
/// The caller owns both files: a reader that comes in between sees neither the old nor the new pair.
pub(super) fn align(graph: &Path, weights: &Path) -> Result<(), AlignError> {
    let mut bytes = fs::read(graph)?;
    // A graph whose weights are all small has no such file.
    if weights.try_exists()? {
        let moved = weights.with_extension("aligned");
        let mut copy = Copy::new(File::open(weights)?, File::create_new(&moved)?);
        let name = file_name(weights);
        let mut model = ModelProto::decode(bytes.as_slice())?;
        visit(&mut model.graph, &mut |tensor| relocate(tensor, &name, |place| copy.place(place)))?;
        copy.finish()?;
        fs::rename(moved, weights)?;
        bytes = model.encode_to_vec();
        fs::write(graph, &bytes)?;
    }
    check(&bytes, weights)
}

/// Checks that every buffer of the encoded model `graph` is aligned and lies within the file `weights`, which is a
/// regular file.
pub(super) fn check(graph: &[u8], weights: &Path) -> Result<(), AlignError> {
    let file = match fs::symlink_metadata(weights) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Err(io::Error::other("the weights are not a regular file").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error.into()),
    };
    let name = file_name(weights);
    let mut model = ModelProto::decode(graph)?;
    visit(&mut model.graph, &mut |tensor| {
        let owner = tensor.name.clone();
        relocate(tensor, &name, |(offset, length)| {
            let inside = offset.checked_add(length).is_some_and(|end| end <= file);
            match inside && offset.is_multiple_of(ALIGNMENT) {
                true => Ok(offset),
                false => Err(AlignError::Place { tensor: owner.clone(), offset, length, file }),
            }
        })
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Calls `change` with each tensor of `graphs`, of their nodes' attributes and of the graphs in these.
fn visit<'a>(
    graphs: impl IntoIterator<Item = &'a mut GraphProto>,
    change: &mut dyn FnMut(&mut TensorProto) -> Result<(), AlignError>,
) -> Result<(), AlignError> {
    for graph in graphs {
        graph.initializer.iter_mut().try_for_each(&mut *change)?;
        for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
            attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(&mut *change)?;
            visit(&mut attribute.g, change)?;
            visit(&mut attribute.graphs, change)?;
        }
    }
    Ok(())
}

/// Replaces the offset of each buffer of `tensor` by what `place` gives for it. All buffers lie in the file `name`.
fn relocate(
    tensor: &mut TensorProto,
    name: &str,
    mut place: impl FnMut(Place) -> Result<u64, AlignError>,
) -> Result<(), AlignError> {
    if tensor.external_data.is_empty() {
        return Ok(());
    }
    let unknown = |key: &str, value: &str| AlignError::Form {
        tensor: tensor.name.clone(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let [mut offset, mut length] = [None, None];
    let mut entries = tensor.external_data.clone();
    for StringStringEntryProto { key, value } in &mut entries {
        match key.as_str() {
            "location" if value == name => {}
            "offset" => offset = value.parse().ok(),
            "length" => length = value.parse().ok(),
            key if key.starts_with(PREPACKED) => {
                let (set, buffers) = prepacked(value).ok_or_else(|| unknown(key, value))?;
                let mut moved = set.to_owned();
                for (offset, length, checksum) in buffers {
                    moved.push_str(&format!("|{};{length};{checksum}", place((offset, length))?));
                }
                *value = moved;
            }
            _ => return Err(unknown(key, value)),
        }
    }
    let [Some(start), Some(length)] = [offset, length] else {
        return Err(unknown("offset, length", &format!("{offset:?}, {length:?}")));
    };
    let moved = place((start, length))?;
    for entry in entries.iter_mut().filter(|entry| entry.key == "offset") {
        entry.value = moved.to_string();
    }
    tensor.external_data = entries;
    Ok(())
}

/// Offset, length and checksum of a buffer.
type Buffer<'a> = (u64, u64, &'a str);

/// Key and buffers of one set of prepacked weights; `None` if the value has another form.
fn prepacked(value: &str) -> Option<(&str, Vec<Buffer<'_>>)> {
    let (key, buffers) = value.split_once('|')?;
    let buffer = |text| match str::split(text, ';').collect::<Vec<&str>>()[..] {
        [offset, length, checksum] => Some((offset.parse().ok()?, length.parse().ok()?, checksum)),
        _ => None,
    };
    Some((key, buffers.split('|').map(buffer).collect::<Option<_>>()?))
}

/// Copies buffers of one file to aligned places of another, each once.
struct Copy {
    from: File,
    to: BufWriter<File>,
    /// Bytes written.
    end: u64,
    /// New offset of each buffer.
    places: HashMap<Place, u64>,
}

impl Copy {
    fn new(from: File, to: File) -> Self {
        Self { from, to: BufWriter::new(to), end: 0, places: HashMap::new() }
    }

    /// The new offset of the buffer at `place`.
    fn place(&mut self, place: Place) -> Result<u64, AlignError> {
        if let Some(offset) = self.places.get(&place) {
            return Ok(*offset);
        }
        let start = self.end.next_multiple_of(ALIGNMENT);
        io::copy(&mut io::repeat(0).take(start - self.end), &mut self.to)?;
        self.from.seek(SeekFrom::Start(place.0))?;
        let copied = io::copy(&mut (&self.from).take(place.1), &mut self.to)?;
        if copied != place.1 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.end = start + copied;
        self.places.insert(place, start);
        Ok(start)
    }

    fn finish(mut self) -> Result<(), AlignError> {
        Ok(self.to.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: &str = "graph.weights";

    /// A folder with a file of weights and a graph that refers to it in these `external_data` entries, one list per tensor.
    fn entry(tensors: &[&[(&str, &str)]], weights: &[u8]) -> (tempfile::TempDir, [std::path::PathBuf; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let [graph, file] = ["graph.onnx", WEIGHTS].map(|name| folder.path().join(name));
        let tensor = |entries: &&[(&str, &str)]| TensorProto {
            name: "w".into(),
            external_data: entries
                .iter()
                .map(|(key, value)| StringStringEntryProto { key: (*key).into(), value: (*value).into() })
                .collect(),
            ..TensorProto::default()
        };
        let initializer = tensors.iter().map(tensor).collect();
        let model = ModelProto {
            graph: Some(GraphProto { initializer, ..GraphProto::default() }),
            ..ModelProto::default()
        };
        fs::write(&graph, model.encode_to_vec()).unwrap();
        fs::write(&file, weights).unwrap();
        (folder, [graph, file])
    }

    fn values(graph: &Path) -> Vec<String> {
        let model = ModelProto::decode(fs::read(graph).unwrap().as_slice()).unwrap();
        let tensors = model.graph.unwrap().initializer;
        tensors.into_iter().flat_map(|tensor| tensor.external_data).map(|entry| entry.value).collect()
    }

    #[test]
    fn buffers_move_to_aligned_places_with_their_bytes_and_shared_ones_are_copied_once() {
        let bytes: Vec<u8> = (0..200).collect();
        let place = |offset| [("location", WEIGHTS), ("offset", offset), ("length", "10")];
        let with_set = [&place("3")[..], &[("prepacked_0", "MatMul+1|13;70;0|83;5;0")]].concat();
        let (_folder, [graph, file]) = entry(&[&with_set, &place("3"), &place("100")], &bytes);
        assert!(matches!(check(&fs::read(&graph).unwrap(), &file), Err(AlignError::Place { .. })));
        align(&graph, &file).unwrap();
        // The prepacked buffers come first; the elements of the first two tensors are the same buffer.
        let expected = [
            [WEIGHTS, "192", "10", "MatMul+1|0;70;0|128;5;0"].as_slice(),
            &[WEIGHTS, "192", "10"],
            &[WEIGHTS, "256", "10"],
        ];
        assert_eq!(values(&graph), expected.concat());
        let moved = fs::read(&file).unwrap();
        for (to, from, length) in [(0, 13, 70), (128, 83, 5), (192, 3, 10), (256, 100, 10)] {
            assert_eq!(moved[to..to + length], bytes[from..from + length]);
        }
        assert_eq!(moved.len(), 266);
    }

    #[test]
    fn references_in_another_form_and_beyond_the_file_are_refused() {
        let place = [("location", WEIGHTS), ("offset", "0"), ("length", "8")];
        let refused: [(&[(&str, &str)], &str); 7] = [
            (&[("location", "/other"), place[1], place[2]], "`location` = `/other`"),
            (&[place[0], ("offset", "-1"), place[2]], "`offset, length` = `None, Some(8)`"),
            (&[place[0], place[1]], "`offset, length` = `Some(0), None`"),
            (&[place[0], place[1], place[2], ("prepacked_0", "key")], "`prepacked_0` = `key`"),
            (&[place[0], place[1], place[2], ("prepacked_0", "key|0;8")], "`prepacked_0` = `key|0;8`"),
            (&[place[0], place[1], place[2], ("slice_sizes", "2")], "`slice_sizes` = `2`"),
            (&[place[0], ("offset", "64"), place[2]], "8 bytes at offset 64 of a file of 64 bytes"),
        ];
        for (entries, expected) in refused {
            let (_folder, [graph, file]) = entry(&[entries], &[0; 64]);
            let error = check(&fs::read(&graph).unwrap(), &file).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(align(&graph, &file).is_err());
        }
    }
}
