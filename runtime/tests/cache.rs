//! The cache of optimized graphs: it changes no result, its weights are aligned, and damage to it is repaired.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use common::{lexicon_tagger, many_sources, with_drafter};
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::{Bytes, ElementType, GraphBuilder, Opset, WeightFile, write_model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Tagger, TaggerOptions, Value};
use prost::Message;
use tempfile::TempDir;

/// A tagger's file in a folder of its own, with the cache beside it.
struct Place {
    folder: TempDir,
    model: PathBuf,
    expected: Vec<Vec<u32>>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("a.onnx");
        fs::copy(lexicon_tagger(), &model).unwrap();
        let backend = BackendOptions { kind: BackendKind::Ort, ..Default::default() };
        let options = TaggerOptions { backend, ..Default::default() };
        let expected = Tagger::open(&model, &options).unwrap().target_ids(&many_sources()).unwrap();
        Self { folder, model, expected }
    }

    fn options(&self) -> TaggerOptions {
        let cache = Some(self.folder.path().to_owned());
        let backend = BackendOptions { kind: BackendKind::Ort, cache, ..Default::default() };
        TaggerOptions { backend, ..Default::default() }
    }

    fn open(&self) -> Tagger {
        Tagger::open(&self.model, &self.options()).unwrap()
    }

    /// Opens the tagger with the cache and compares its ids with those without.
    fn check(&self) -> Tagger {
        let tagger = self.open();
        assert_eq!(tagger.target_ids(&many_sources()).unwrap(), self.expected);
        assert_eq!(tagger.backend().notices(), [""; 0]);
        tagger
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("a.onnx.cache")
    }

    fn entries(&self) -> BTreeSet<PathBuf> {
        fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// Offset and length of each buffer that the graph of a cache entry refers to, and whether it is prepacked.
fn buffers(entry: &Path) -> Vec<(u64, u64, bool)> {
    let model = ModelProto::decode(fs::read(entry.join("graph.onnx")).unwrap().as_slice()).unwrap();
    let mut buffers = vec![];
    for tensor in model.graph.unwrap().initializer {
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key);
        let number = |key| entry(key).map(|entry| entry.value.parse().unwrap());
        buffers
            .extend(number("offset").zip(number("length")).map(|(offset, length)| (offset, length, false)));
        for set in tensor.external_data.iter().filter(|entry| entry.key.starts_with("prepacked")) {
            for buffer in set.value.split('|').skip(1) {
                let [offset, length, _] = buffer.split(';').collect::<Vec<_>>()[..] else {
                    panic!("{buffer}")
                };
                buffers.push((offset.parse().unwrap(), length.parse().unwrap(), true));
            }
        }
    }
    buffers
}

fn assert_aligned(entry: &Path) {
    let size = fs::metadata(entry.join("graph.weights")).unwrap().len();
    for (offset, length, _) in buffers(entry) {
        assert!(offset.is_multiple_of(64), "{length} bytes at {offset} of {}", entry.display());
        assert!(offset + length <= size);
    }
}

/// A chain of products, each followed by `relu`, from `widths[0]` to `widths[1]` and so on.
fn products(widths: &[usize], path: &Path) {
    let mut graph = GraphBuilder::new("products", Opset::default());
    let mut x = graph.input("x", ElementType::F32, &["batch".into(), widths[0].into()]);
    for (layer, pair) in widths.windows(2).enumerate() {
        let weight = graph.weight(&format!("w{layer}"), ElementType::F32, pair);
        x = graph.matmul(x, weight);
        x = graph.relu(x);
    }
    let width = widths[widths.len() - 1];
    graph.output(x, "y", ElementType::F32, &["batch".into(), width.into()]);
    let mut bytes = vec![];
    let number = |at: usize| (((at * 7_919) % 201) as f32 - 100.0) / 1e3;
    write_model(&mut bytes, &graph.finish().unwrap(), |weight| -> Result<Bytes, std::io::Error> {
        Ok((0..weight.element_count()).flat_map(|at| number(at).to_le_bytes()).collect())
    })
    .unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_weight_of_a_cached_graph_is_aligned_whatever_its_width() {
    let chains: [&[usize]; 4] = [
        &[16, 24, 17, 33, 16],
        &[65, 129, 63, 257, 100],
        &[300, 511, 513, 600, 700],
        &[40, 700, 40, 900, 33],
    ];
    let mut prepacked = vec![];
    for widths in chains {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.onnx");
        products(widths, &path);
        let file = WeightFile::open(&path).unwrap();
        let x: Vec<f32> = (0..3 * widths[0]).map(|at| (at % 13) as f32 / 13.0).collect();
        let x = Value::from_f32s(&[3, widths[0]], x).unwrap();
        let run = |cache: Option<PathBuf>| {
            let options = BackendOptions { kind: BackendKind::Ort, cache, ..Default::default() };
            let backend = Backend::load(&options).unwrap();
            let mut graph = backend.open(&file.model().unwrap(), Some(&file)).unwrap();
            assert_eq!(backend.notices(), [""; 0]);
            graph.run(&[("x", &x)]).unwrap().remove(0).f32s().unwrap().to_vec()
        };
        let expected = run(None);
        for start in ["cold", "warm"] {
            assert_eq!(run(Some(folder.path().to_owned())), expected, "{widths:?}, {start}");
        }
        for entry in fs::read_dir(folder.path().join("a.onnx.cache")).unwrap() {
            let entry = entry.unwrap().path();
            assert_aligned(&entry);
            prepacked.extend(buffers(&entry).into_iter().filter(|buffer| buffer.2).map(|buffer| buffer.1));
        }
    }
    // ONNX Runtime aligns those above 1 MiB by itself.
    let large = prepacked.iter().filter(|length| **length > 1 << 20).count();
    assert!(large >= 2 && prepacked.len() - large >= 8, "{prepacked:?}");
}

#[test]
fn a_cached_tagger_gives_the_same_ids_and_its_entries_follow_the_file() {
    let place = Place::new();
    place.check();
    let first = place.entries();
    assert_eq!(first.len(), 2, "encoder and decoder: {first:?}");
    first.iter().for_each(|entry| assert_aligned(entry));
    place.check();
    assert_eq!(place.entries(), first);
    // Folders that a killed process has left, and that another process still writes.
    let [left, new] = [".new-left", ".new-new"].map(|name| place.cache().join(name));
    for folder in [&left, &new] {
        fs::create_dir(folder).unwrap();
    }
    let hours = std::time::Duration::from_secs(2 * 60 * 60);
    let times = fs::FileTimes::new().set_modified(std::time::SystemTime::now() - hours);
    fs::File::open(&left).unwrap().set_times(times).unwrap();
    // Another version of the file.
    fs::write(&place.model, with_drafter(1.0)).unwrap();
    place.check();
    assert!(place.entries().is_disjoint(&first), "{:?}", place.entries());
    assert!(!left.exists() && new.exists());
    // Another file of the same name.
    let second = place.entries();
    let other = place.folder.path().join("b").join("a.onnx");
    fs::create_dir(other.parent().unwrap()).unwrap();
    fs::copy(lexicon_tagger(), &other).unwrap();
    let tagger = Tagger::open(&other, &place.options()).unwrap();
    assert_eq!(tagger.target_ids(&many_sources()).unwrap(), place.expected);
    assert!(place.entries().is_superset(&second) && place.entries().len() == second.len() + 2);
}

#[test]
#[cfg(feature = "tract")]
fn tract_says_that_it_does_not_cache() {
    let place = Place::new();
    let mut options = place.options();
    options.backend.kind = BackendKind::Tract;
    let tract = Tagger::open(&place.model, &options).unwrap();
    assert_eq!(tract.backend().notices(), ["tract does not cache models"]);
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error_of_the_user() {
    let place = Place::new();
    let mut options = place.options();
    options.backend.cache = Some(place.model.clone());
    let error = Tagger::open(&place.model, &options).unwrap_err();
    assert!(!error.is_internal());
    let source = std::error::Error::source(&error).unwrap();
    assert!(
        source.source().unwrap().to_string().contains("cache of the model cannot be written"),
        "{error:?}"
    );
}

/// Moves every buffer of an entry by 16 bytes, as an entry of an earlier version may have them.
fn misalign(entry: &Path) {
    let path = entry.join("graph.onnx");
    let mut model = ModelProto::decode(fs::read(&path).unwrap().as_slice()).unwrap();
    let moved = |offset: &str| (offset.parse::<u64>().unwrap() + 16).to_string();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        for entry in &mut tensor.external_data {
            if entry.key == "offset" {
                entry.value = moved(&entry.value);
            } else if entry.key.starts_with("prepacked") {
                let mut parts = entry.value.split('|');
                let mut value = parts.next().unwrap().to_owned();
                for part in parts {
                    let (offset, rest) = part.split_once(';').unwrap();
                    value.push_str(&format!("|{};{rest}", moved(offset)));
                }
                entry.value = value;
            }
        }
    }
    replace(&path, &model.encode_to_vec());
    let weights = fs::read(entry.join("graph.weights")).unwrap();
    replace(&entry.join("graph.weights"), &[&[0; 16], weights.as_slice()].concat());
}

/// Puts another file in place of `path`.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A fault: its name, and what makes it in the folder of an entry.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_damaged_entry_is_written_anew() {
    let truncate = |path: &Path, length: fn(usize) -> usize| {
        let bytes = fs::read(path).unwrap();
        replace(path, &bytes[..length(bytes.len())]);
    };
    let damages: [Damage<'_>; 11] = [
        ("another graph", &|entry| replace(&entry.join("graph.onnx"), b"half of a gra")),
        ("an empty graph", &|entry| replace(&entry.join("graph.onnx"), b"")),
        ("half of the graph", &|entry| truncate(&entry.join("graph.onnx"), |length| length / 2)),
        ("no graph", &|entry| fs::remove_file(entry.join("graph.onnx")).unwrap()),
        ("no weights", &|entry| fs::remove_file(entry.join("graph.weights")).unwrap()),
        ("empty weights", &|entry| replace(&entry.join("graph.weights"), b"")),
        ("half of the weights", &|entry| truncate(&entry.join("graph.weights"), |length| length / 2)),
        ("all weights but a byte", &|entry| truncate(&entry.join("graph.weights"), |length| length - 1)),
        ("a folder in place of the weights", &|entry| {
            fs::remove_file(entry.join("graph.weights")).unwrap();
            fs::create_dir(entry.join("graph.weights")).unwrap();
        }),
        ("a file in place of the entry", &|entry| {
            fs::remove_dir_all(entry).unwrap();
            fs::write(entry, "").unwrap();
        }),
        ("weights that are not aligned", &misalign),
    ];
    let place = Place::new();
    place.check();
    let entries = place.entries();
    for (name, damage) in damages {
        entries.iter().for_each(|entry| damage(entry));
        place.check();
        assert_eq!(place.entries(), entries, "{name}");
        entries.iter().for_each(|entry| assert_aligned(entry));
    }
}

#[test]
#[cfg(unix)]
fn a_fifo_in_the_place_of_a_file_is_not_waited_for() {
    let place = Place::new();
    place.check();
    let entries = place.entries();
    let fifo = |path: &Path| {
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    for name in ["graph.onnx", "graph.weights"] {
        for entry in &entries {
            fs::remove_file(entry.join(name)).unwrap();
            fifo(&entry.join(name));
        }
        place.check();
    }
    for entry in &entries {
        fs::remove_dir_all(entry).unwrap();
        fifo(entry);
    }
    place.check();
    assert_eq!(place.entries(), entries);
}

#[test]
#[cfg(unix)]
fn an_entry_that_is_replaced_while_it_is_mapped_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let tagger = place.check();
    for entry in place.entries() {
        for file in fs::read_dir(&entry).unwrap() {
            let path = file.unwrap().path();
            // A program that would cut a mapped file short is refused.
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o222, 0);
            replace(&path, b"other");
        }
    }
    assert_eq!(tagger.target_ids(&many_sources()).unwrap(), place.expected);
    // Another process repairs the entry; a third removes it.
    let repaired = place.check();
    fs::remove_dir_all(place.cache()).unwrap();
    for tagger in [tagger, repaired] {
        assert_eq!(tagger.target_ids(&many_sources()).unwrap(), place.expected);
    }
}

#[test]
fn cold_starts_at_the_same_time_all_succeed() {
    let place = Place::new();
    let start = |count: usize| {
        let barrier = Barrier::new(count);
        std::thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    barrier.wait();
                    let tagger = place.open();
                    assert_eq!(tagger.target_ids(&many_sources()).unwrap(), place.expected);
                });
            }
        });
    };
    start(3);
    let entries = place.entries();
    assert_eq!(entries.len(), 2, "nothing unfinished is left: {entries:?}");
    for entry in &entries {
        fs::remove_file(entry.join("graph.onnx")).unwrap();
    }
    start(3);
    place.check();
    assert_eq!(place.entries(), entries);
}
