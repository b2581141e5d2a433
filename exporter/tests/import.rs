//! Checkpoints of other programs: exported, they give the ids and logits that those programs computed.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod common;
#[path = "common/torch_file.rs"]
mod torch_file;

use std::fs;
use std::path::{Path, PathBuf};

use common::{HyperCase, fixtures, ids};
use hyperloader_core::causes::with_causes;
use hyperloader_core::text::words::WordSplitting;
use hyperloader_core::weights::tensors::{TensorFile, Tensors, write_tensors};
use hyperloader_exporter::import::pickle::read_tensors;
use hyperloader_exporter::{Exporter, Import, Options};
use hyperloader_runtime::{BackendKind, BackendOptions, Tagger, TaggerOptions, Value};
use ndarray::Array2;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

const TASK: &str = "task";

/// Copies of a golden case's folders, which a test may change; the model has a tokenizer.
fn copy_of(case: &str, parts: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in parts {
        let (from, to) = (fixtures().join("golden").join(case).join(part), folder.path().join(part));
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
            fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
        }
    }
    let tokenizer = fixtures().join("backbones/t5-nano/tokenizer.json");
    fs::copy(tokenizer, folder.path().join("model/tokenizer.json")).unwrap();
    folder
}

fn import(folder: PathBuf) -> Import {
    Import {
        folder,
        backbone: None,
        task: TASK.to_owned(),
        labels: ["name", "place"].map(str::to_owned).to_vec(),
        words: WordSplitting::default(),
        source_prefix: String::new(),
        max_source_len: 128,
        max_target_len: 128,
    }
}

fn error_of(import: &Import) -> String {
    with_causes(&Exporter::import(import).unwrap_err())
}

/// Exports `import` and runs the file on sources: its ids must be the `greedy` ones, which begin with the start token.
fn gives_ids(mut import: Import, sources: &[Vec<u32>], greedy: &Array2<i64>) {
    import.max_target_len = greedy.ncols() - 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.onnx");
    let exporter = Exporter::import(&import).unwrap();
    exporter.export(&import.task, &path, &Options::unchecked(), &|_| {}).unwrap();
    for kind in [BackendKind::Ort, BackendKind::Tract] {
        let backend = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
        let tagger = Tagger::open(&path, &TaggerOptions { backend, ..TaggerOptions::default() }).unwrap();
        let found = tagger.target_ids(sources).unwrap();
        for (found, wanted) in found.iter().zip(greedy.outer_iter()) {
            let wanted: Vec<u32> = wanted.iter().skip(1).map(|id| *id as u32).collect();
            let end = wanted.iter().position(|id| *id == 1).map_or(wanted.len(), |at| at + 1);
            assert_eq!(
                found,
                &wanted[..end],
                "task {} of {} in {kind}",
                import.task,
                import.folder.display()
            );
        }
    }
}

/// As [`gives_ids`] with the sources and the ids of the golden case `case`.
fn gives_golden_ids(import: Import, case: &str) {
    let io = io_of(case);
    gives_ids(import, &sources(&io), &ids(&io, "greedy_ids"));
}

/// The source ids in `file`, without padding.
fn sources(file: &TensorFile) -> Vec<Vec<u32>> {
    let (input, mask) = (ids(file, "input_ids"), ids(file, "attention_mask"));
    let row = |(ids, mask): (ndarray::ArrayView1<'_, i64>, ndarray::ArrayView1<'_, i64>)| {
        ids.iter().zip(mask).filter(|(_, mask)| **mask == 1).map(|(id, _)| *id as u32).collect()
    };
    input.outer_iter().zip(mask.outer_iter()).map(row).collect()
}

fn io_of(case: &str) -> TensorFile {
    TensorFile::open(&fixtures().join("golden").join(case).join("io.safetensors")).unwrap()
}

fn edit(path: &Path, change: impl FnOnce(&mut Json)) {
    let mut json = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn lora_of_peft_gives_its_golden_ids() {
    let place = copy_of("lora-t5", &["model", "adapter"]);
    // `base_model_name_or_path` is `model`.
    gives_golden_ids(import(place.path().join("adapter")), "lora-t5");

    // As older versions save it.
    let adapter = place.path().join("adapter/adapter_model.safetensors");
    let tensors = TensorFile::open(&adapter).unwrap().read_all().unwrap();
    torch_file::write(&adapter.with_extension("bin"), &tensors);
    fs::remove_file(adapter).unwrap();
    gives_golden_ids(import(place.path().join("adapter")), "lora-t5");
}

#[test]
fn settings_of_lora_that_change_the_result_are_refused() {
    let place = copy_of("lora-t5", &["model", "adapter"]);
    let config = place.path().join("adapter/adapter_config.json");
    let whole = fs::read_to_string(&config).unwrap();
    for (field, value, message) in [
        ("use_dora", json!(true), "`use_dora` is true, only false or nothing"),
        ("bias", json!("all"), "`bias` is \"all\", only \"none\""),
        ("init_lora_weights", json!("pissa"), "`init_lora_weights` is \"pissa\", only true, false"),
        ("use_rslora", json!(1), "`use_rslora` is 1, only true or false"),
        (
            "loftq_config",
            json!({"loftq_bits": 4}),
            "`loftq_config` is {\"loftq_bits\":4}, only false or nothing",
        ),
        ("a_field_of_the_future", json!(3), "`a_field_of_the_future` is 3, only false or nothing"),
        ("alpha_pattern", json!({"q": 4}), "`alpha_pattern` is {\"q\":4}"),
        ("peft_type", json!("IA3"), "`peft_type` is \"IA3\", only \"LORA\""),
        ("lora_alpha", json!("x"), "`lora_alpha` is \"x\", only a number"),
        ("base_model_name_or_path", json!("gone"), "hint: name its folder with `--backbone DIR`"),
    ] {
        edit(&config, |config| config[field] = value);
        let found = error_of(&import(place.path().join("adapter")));
        assert!(found.contains(message), "{field}: {found}");
        fs::write(&config, &whole).unwrap();
    }
    // The factor of a rank-stabilized LoRA is alpha / sqrt(rank).
    edit(&config, |config| {
        config["use_rslora"] = json!(true);
        config["lora_alpha"] = json!(8.0 / 8.0_f64.sqrt());
    });
    gives_golden_ids(import(place.path().join("adapter")), "lora-t5");
}

#[test]
fn adapters_and_unions_of_adapterhub_give_their_golden_ids() {
    for case in ["adapters-t5", "unipelt-t5"] {
        let place = copy_of(case, &["model", "adapterhub"]);
        let weights = fixtures().join("golden").join(case).join("adapter.safetensors");
        let tensors = TensorFile::open(&weights).unwrap().read_all().unwrap();
        for pickled in [false, true] {
            match pickled {
                false => {
                    write_tensors(&place.path().join("adapterhub/adapter.safetensors"), &tensors).unwrap()
                }
                true => {
                    fs::remove_file(place.path().join("adapterhub/adapter.safetensors")).unwrap();
                    torch_file::write(&place.path().join("adapterhub/pytorch_adapter.bin"), &tensors);
                }
            }
            let backbone = Some(place.path().join("model"));
            gives_golden_ids(Import { backbone, ..import(place.path().join("adapterhub")) }, case);
        }
    }
}

#[test]
fn settings_of_adapters_that_change_the_result_are_refused() {
    let place = copy_of("adapters-t5", &["model", "adapterhub"]);
    let weights = fixtures().join("golden/adapters-t5/adapter.safetensors");
    fs::copy(weights, place.path().join("adapterhub/adapter.safetensors")).unwrap();
    let backbone = Some(place.path().join("model"));
    let import = Import { backbone, ..import(place.path().join("adapterhub")) };
    let config = place.path().join("adapterhub/adapter_config.json");
    let whole = fs::read_to_string(&config).unwrap();
    for (field, value) in [
        ("mh_adapter", json!(false)),
        ("is_parallel", json!(true)),
        ("ln_after", json!(true)),
        ("scaling", json!(2.0)),
        ("scaling", json!("learned")),
        ("non_linearity", json!("leakyrelu")),
        ("architecture", json!("prefix_tuning")),
    ] {
        edit(&config, |config| config["config"][field] = value.clone());
        let found = error_of(&import);
        assert!(found.contains(&format!("`config.{field}` is {value}, only ")), "{field}: {found}");
        fs::write(&config, &whole).unwrap();
    }
}

#[test]
fn a_fine_tuned_t5_gives_its_golden_ids_from_both_kinds_of_files() {
    let place = copy_of("lora-t5", &["model"]);
    let merged = fixtures().join("golden/lora-t5/merged.safetensors");
    let merged = TensorFile::open(&merged).unwrap().read_all().unwrap();
    let file = place.path().join("model/model.safetensors");
    let mut tensors = TensorFile::open(&file).unwrap().read_all().unwrap();
    tensors.extend(merged);
    write_tensors(&file, &tensors).unwrap();
    gives_golden_ids(import(place.path().join("model")), "lora-t5");
    fs::remove_file(&file).unwrap();
    torch_file::write(&file.with_file_name("pytorch_model.bin"), &tensors);
    gives_golden_ids(import(place.path().join("model")), "lora-t5");
}

#[test]
fn the_authors_checkpoints_give_their_golden_ids_for_each_task() {
    for case in HyperCase::all() {
        let config: Json =
            serde_json::from_str(&fs::read_to_string(case.folder.join("config.json")).unwrap()).unwrap();
        // The fixtures have our names; the table says which are theirs.
        let theirs = config["tensors"].as_array().unwrap().iter().map(|entry| {
            let ours = entry["ours"].as_str().unwrap();
            (entry["reference"].as_str().unwrap().to_owned(), case.state[ours].clone())
        });
        let mut tensors: Tensors = theirs.collect();
        tensors.insert("lm_head.weight".to_owned(), tensors["shared.weight"].clone());
        let place = tempfile::tempdir().unwrap();
        case.write_backbone(&place.path().join("backbone"));
        fs::create_dir(place.path().join("theirs")).unwrap();
        torch_file::write(&place.path().join("theirs/pytorch_model.bin"), &tensors);
        let outputs = case.open("outputs");
        let inputs = case.open("inputs");
        for task in &case.tasks {
            let request = Import {
                backbone: Some(place.path().join("backbone")),
                task: task.clone(),
                ..import(place.path().join("theirs"))
            };
            gives_ids(request, &sources(&inputs), &ids(&outputs, &format!("{task}/generated_ids")));
        }
        let unknown =
            Import { backbone: Some(place.path().join("backbone")), ..import(place.path().join("theirs")) };
        assert!(error_of(&unknown).contains("has no task `task`, only `atis`, `movie`, `snips`"));
    }
}

#[test]
fn a_folder_without_a_checkpoint_and_labels_that_cannot_be_written_are_errors() {
    let place = tempfile::tempdir().unwrap();
    let message = error_of(&import(place.path().to_owned()));
    assert!(
        message.contains("it has none of the known files\nhint: expected `adapter_config.json`"),
        "{message}"
    );
    assert!(error_of(&import(place.path().join("none"))).contains("it is not a folder"));
    let model = copy_of("lora-t5", &["model"]);
    let labels = vec!["{a}".to_owned()];
    let message = error_of(&Import { labels, ..import(model.path().join("model")) });
    assert!(message.contains("cannot write these labels"), "{message}");
    fs::remove_file(model.path().join("model/tokenizer.json")).unwrap();
    let message = error_of(&import(model.path().join("model")));
    assert!(message.contains("has neither `tokenizer.json` nor `spiece.model`"), "{message}");
}

#[test]
fn safetensors_come_before_a_pickle_and_a_named_backbone_before_the_folder() {
    let place = copy_of("lora-t5", &["model"]);
    let folder = place.path().join("model");
    let file = folder.join("model.safetensors");
    let tensors = TensorFile::open(&file).unwrap().read_all().unwrap();
    let zeros = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.mapv(|_| 0.0))).collect();
    torch_file::write(&folder.join("pytorch_model.bin"), &zeros);
    let shard = "model-00001-of-00001.safetensors";
    fs::rename(&file, folder.join(shard)).unwrap();
    let map: serde_json::Map<String, Json> =
        tensors.keys().map(|name| (name.clone(), json!(shard))).collect();
    fs::write(folder.join("model.safetensors.index.json"), json!({ "weight_map": map }).to_string()).unwrap();
    let exporter = Exporter::import(&import(folder.clone())).unwrap();
    let task = exporter.run().manifest.tasks[0].clone();
    let model = exporter.t5_model(&task).unwrap();
    assert_eq!(model.tensor("shared.weight").unwrap(), tensors["shared.weight"]);

    let tokenizer = folder.join("tokenizer.json");
    let backbone = place.path().join("backbone");
    fs::create_dir(&backbone).unwrap();
    fs::rename(&tokenizer, backbone.join("tokenizer.json")).unwrap();
    let import = Import { backbone: Some(backbone.clone()), ..import(folder) };
    assert!(Exporter::import(&import).is_ok());
    fs::remove_dir_all(backbone).unwrap();
    assert!(error_of(&import).contains("tokenizer.json"));
}

#[test]
fn names_that_mean_the_same_and_names_that_are_no_task_are_errors() {
    let place = copy_of("lora-t5", &["model", "adapter"]);
    let file = place.path().join("adapter/adapter_model.safetensors");
    let whole = TensorFile::open(&file).unwrap().read_all().unwrap();
    let name = "base_model.model.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight";
    for other in [name.trim_start_matches("base_model.model."), &name.replace("lora_A", "lora_A.default")] {
        let mut tensors = whole.clone();
        tensors.insert(other.to_owned(), whole[name].clone());
        write_tensors(&file, &tensors).unwrap();
        assert!(
            error_of(&import(place.path().join("adapter"))).contains("twice, under different names"),
            "{other}"
        );
    }
    write_tensors(&file, &whole).unwrap();
    for task in ["", "../x", "a\nb"] {
        let import = Import { task: task.to_owned(), ..import(place.path().join("adapter")) };
        assert!(error_of(&import).contains("letters, digits"), "{task:?}");
    }
}

#[test]
fn pickles_that_would_take_all_memory_or_all_of_the_stack_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pytorch_model.bin");
    let refused = |pickle: &[u8], data: &[(&str, &[u8])], message: &str| {
        torch_file::write_raw(&path, pickle, data);
        let found = with_causes(&read_tensors(&path).unwrap_err());
        assert!(found.contains(message), "{message}: {found}");
    };
    for open in [b")".as_slice(), b"]", b"}"] {
        let deep = [b"\x80\x02", open, &b"\x85".repeat(300_000), b"."].concat();
        refused(&deep, &[], "too deep in each other");
    }
    let doubling = [b"\x80\x02K\x01q\x00".as_slice(), &b"h\x00h\x00\x86q\x00".repeat(40), b"."].concat();
    refused(&doubling, &[], "twice");
    refused(&[b"\x80\x02".as_slice(), &b"N".repeat(5 << 20), b"."].concat(), &[], "too many instructions");
    let pickle = torch_file::pickle([("a", "0", &[64][..])]);
    refused(&pickle, &[("0", &[0; 32])], "has 32 bytes, expected 256");
    // A view whose elements have the other sign.
    let end = b"\x89ccollections\nOrderedDict\n)Rt";
    let at = pickle.windows(end.len()).position(|window| window == end).unwrap() + end.len() - 1;
    let marked = [&pickle[..at], b"}X\x03\x00\x00\x00neg\x88s", &pickle[at..]].concat();
    refused(&marked, &[("0", &[0; 256])], "marked as negative");
}

#[test]
fn a_pickle_that_calls_a_function_is_refused_and_runs_nothing() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pytorch_model.bin");
    let marker = place.path().join("marker");
    let call = format!("cos\nsystem\n(X{}touch {}tR.", "\x00", marker.display());
    for pickle in [
        call.as_bytes(),
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02ctorch.nn\nLinear\n)\x81.",
    ] {
        torch_file::write_raw(&path, pickle, &[]);
        let message = with_causes(&read_tensors(&path).unwrap_err());
        assert!(message.contains("does not belong in a file of tensors\nhint: nothing was run"), "{message}");
    }
    assert!(!marker.exists());
}

#[test]
fn damaged_files_of_tensors_are_errors() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("model.bin");
    let tensors: Tensors =
        [("a".to_owned(), ndarray::array![[1.0_f32, 2.0], [3.0, 4.0]].into_dyn())].into_iter().collect();
    torch_file::write(&path, &tensors);
    assert_eq!(read_tensors(&path).unwrap(), tensors);
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(read_tensors(&path).is_err(), "{end} of {} bytes", whole.len());
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        // No panic; a changed number of another tensor is one.
        let _ = read_tensors(&path);
    }
    // A shape that its storage does not fill.
    let pickle = torch_file::pickle([("a", "0", &[1 << 20, 1 << 20][..])]);
    torch_file::write_raw(&path, &pickle, &[("0", &[0; 16])]);
    assert!(with_causes(&read_tensors(&path).unwrap_err()).contains("does not fit its storage"));
}

#[test]
fn the_whole_graph_gives_the_golden_logits() {
    let place = copy_of("lora-t5", &["model", "adapter"]);
    let io = io_of("lora-t5");
    let exporter = Exporter::import(&import(place.path().join("adapter"))).unwrap();
    let path = place.path().join("task.onnx");
    exporter.export(TASK, &path, &Options::unchecked(), &|_| {}).unwrap();
    let options = BackendOptions { threads: Some(1), ..BackendOptions::default() };
    let mut graph = hyperloader_runtime::Backend::load(&options).unwrap().open_file(&path).unwrap();
    let value = |name: &str| {
        let ids = ids(&io, name);
        Value::from_i64s(ids.shape(), ids.iter().copied().collect()).unwrap()
    };
    let names = ["input_ids", "attention_mask", "decoder_input_ids"];
    let inputs = names.map(|name| (name, value(name)));
    let inputs: Vec<(&str, &Value)> = inputs.iter().map(|(name, value)| (*name, value)).collect();
    let logits = graph.run(&inputs).unwrap().remove(0);
    let wanted = io.floats("logits").unwrap();
    let difference = logits.f32s().unwrap().iter().zip(&wanted).map(|(a, b)| (a - b).abs());
    assert!(difference.fold(0.0, f32::max) < 2e-4);
}
