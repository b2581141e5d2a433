//! `hl-run verify`: a file is as it was exported, or the part that is not is named.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::fs;
use std::path::{Path, PathBuf};

use hyperloader_core::files::hexadecimal;
use hyperloader_core::format::proof::{PROOF, Proof};
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_onnx::proto::{ModelProto, TensorProto};
use hyperloader_onnx::{initializer_digest, read_model};
use hyperloader_tests::{Workplace, fixture};
use prost::Message;
use serde_json::Value;

/// Exports task `snips` of the committed run to `name`.
fn export(place: &Workplace, name: &str, arguments: &[&str]) -> PathBuf {
    let mut export = place.program("hl-export");
    export.args(["--task", "snips", "--quiet", "--output", name, "--run"]).arg(fixture("runs/nano"));
    let output = export.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place.path(name)
}

/// The exit code of `hl-run verify`, its report as JSON or null, and stderr.
fn verify(place: &Workplace, file: &Path) -> (Option<i32>, Value, String) {
    let mut run = place.program("hl-run");
    let output = run.args(["verify", "--quiet", "--output-format", "jsonl"]).arg(file).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
}

/// What did not hold, as `what: found`.
fn faults(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let fault =
        |check: &Value| format!("{}: {}", check["what"].as_str().unwrap(), check["found"].as_str().unwrap());
    checks.filter(|check| check["holds"] == false).map(fault).collect()
}

/// A copy of the model `file` that `change` changed.
fn changed(file: &Path, name: &str, change: impl FnOnce(&mut ModelProto)) -> PathBuf {
    let mut model = read_model(file).unwrap();
    change(&mut model);
    let path = file.with_file_name(name);
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// The first float32 matrix of an attention.
fn matrix(model: &mut ModelProto) -> &mut TensorProto {
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    tensors.iter_mut().find(|tensor| tensor.name.contains("SelfAttention.v")).unwrap()
}

#[test]
fn every_precision_is_as_exported_in_every_backend_that_runs_it() {
    let place = Workplace::new();
    for (precision, backends) in [("f32", 2), ("f16", 2), ("bf16", 1), ("int8", 2), ("int4", 2)] {
        let more: &[&str] = if precision == "f32" { &[] } else { &["--no-cost"] };
        let file =
            export(&place, &format!("{precision}.onnx"), &[&["--precision", precision], more].concat());
        let (code, report, message) = verify(&place, &file);
        assert_eq!((code, faults(&report)), (Some(0), vec![]), "{precision}: {message}");
        let what: Vec<&str> = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|check| check["what"].as_str().unwrap())
            .collect();
        assert_eq!(
            (&what[..3], what.len()),
            (&["graph", "weights", "metadata"][..], 3 + backends),
            "{report}"
        );
        assert_eq!(report["not_run"].as_array().unwrap().len(), 2 - backends, "{report}");
    }
}

#[test]
fn a_changed_part_is_named() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &[]);
    let weight = changed(&file, "weight.onnx", |model| {
        let tensor = matrix(model);
        let mut bytes = tensor.raw_data.to_vec();
        bytes[1001] ^= 1;
        tensor.raw_data = bytes.into();
    });
    let (code, report, _) = verify(&place, &weight);
    let found = faults(&report);
    assert_eq!(code, Some(1));
    assert!(found[0].starts_with("weights: weight `") && found[0].contains("SelfAttention.v"), "{found:?}");

    let labels = changed(&file, "labels.onnx", |model| {
        let property = model.metadata_props.iter_mut().find(|entry| entry.key.ends_with(".labels")).unwrap();
        property.value = property.value.replacen("album", "track", 1);
    });
    let (code, report, _) = verify(&place, &labels);
    assert_eq!(code, Some(1));
    assert!(faults(&report)[0].starts_with("metadata: field `hyperloader.labels` was changed"), "{report}");

    let node = changed(&file, "node.onnx", |model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().find(|node| node.op_type == "Relu").unwrap().op_type = "Abs".to_owned();
    });
    let (code, report, _) = verify(&place, &node);
    let found = faults(&report);
    assert_eq!((code, &*found[0]), (Some(1), "graph: the graph is not the one that was exported"));
    assert!(found.iter().any(|fault| fault.contains("best id")), "the answers show it, too: {found:?}");

    let bare = changed(&file, "bare.onnx", |model| model.metadata_props.retain(|entry| entry.key != PROOF));
    let (code, _, message) = verify(&place, &bare);
    assert_eq!(code, Some(1));
    assert!(message.contains("carries no proof") && message.contains("hint: export it again"), "{message}");
}

#[test]
fn weights_that_fit_their_digests_but_not_the_answers_are_found() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &[]);
    let scaled = changed(&file, "scaled.onnx", |model| {
        let tensor = matrix(model);
        let floats = tensor.raw_data.chunks_exact(4);
        let floats = floats.map(|bytes| 1.01 * f32::from_le_bytes(bytes.try_into().unwrap()));
        tensor.raw_data = floats.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
        let (name, digest) = (tensor.name.clone(), hexadecimal(&initializer_digest(tensor)));
        let property = model.metadata_props.iter_mut().find(|entry| entry.key == PROOF).unwrap();
        let mut proof: Proof = serde_json::from_str(&property.value).unwrap();
        proof.weights.insert(name, digest);
        property.value = serde_json::to_string(&proof).unwrap();
    });
    let (code, report, _) = verify(&place, &scaled);
    let found = faults(&report);
    assert_eq!((code, found.len()), (Some(1), 2), "{report}");
    assert!(found[0].starts_with("ONNX Runtime") && found[1].starts_with("tract"), "{found:?}");
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &["--external-data"]);
    let data = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let data = data.into_iter().find(|path| path.extension().is_some_and(|end| end == "weights")).unwrap();
    for path in [&file, &data] {
        let whole = fs::read(path).unwrap();
        for place_in_12 in 0..12 {
            let at = whole.len() * (2 * place_in_12 + 1) / 24;
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(path, &bytes).unwrap();
            let (code, report, message) = verify(&place, &file);
            assert_eq!(code, Some(1), "byte {at} of `{}`: {report} {message}", path.display());
        }
        fs::write(path, &whole).unwrap();
    }
    assert_eq!(verify(&place, &file).0, Some(0));
}

#[test]
fn repeated_exports_write_the_same_bytes() {
    let place = Workplace::new();
    for precision in ["f32", "int8"] {
        let arguments = ["--precision", precision];
        let more: &[&str] = if precision == "f32" { &[] } else { &["--max-f1-drop", "1"] };
        let one = export(&place, "one.onnx", &[&arguments[..], more, &["--force"]].concat());
        let other = export(&place, "other.onnx", &[&arguments[..], more, &["--force"]].concat());
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{precision}");
    }
}

#[test]
fn a_file_that_is_there_is_replaced_only_on_demand() {
    let place = Workplace::new();
    let file = place.path("snips.onnx");
    fs::write(&file, "mine").unwrap();
    let mut export = place.program("hl-export");
    export.args(["--task", "snips", "--quiet", "--run"]).arg(fixture("runs/nano"));
    let output = export.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), fs::read_to_string(&file).unwrap()), (Some(1), "mine".to_owned()));
    assert!(message.contains("is there already\nhint: `--force` replaces it"), "{message}");
    assert!(export.arg("--force").output().unwrap().status.success());
    assert!(fs::metadata(&file).unwrap().len() > 1_000_000);
}

#[test]
fn test_data_is_what_the_file_computes() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &["--test-data", "data"]);
    let model = read_model(&file).unwrap();
    let graph = model.graph.unwrap();
    for pass in ["test_data_set_0", "test_data_set_1"] {
        let read = |name: String| {
            let path = place.path("data").join(pass).join(name);
            TensorProto::decode(&*fs::read(path).unwrap()).unwrap()
        };
        for (at, input) in graph.input.iter().enumerate() {
            let tensor = read(format!("input_{at}.pb"));
            assert_eq!((&tensor.name, tensor.data_type, tensor.dims.len()), (&input.name, 7, 2));
        }
        for (at, output) in graph.output.iter().enumerate() {
            let tensor = read(format!("output_{at}.pb"));
            assert_eq!((&tensor.name, tensor.data_type, tensor.dims.len()), (&output.name, 1, 3));
        }
    }
}

#[test]
fn inspection_lists_the_parts_of_a_file() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &[]);
    let mut inspect = place.program("hl-export");
    let output = inspect.args(["inspect", "--output-format", "json"]).arg(&file).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["inputs"][0], "input_ids i64 [batch, source_len]");
    assert_eq!(found["opsets"], serde_json::json!([18]));
    assert_eq!(found["metadata"]["hyperloader.task"], "snips");
    let bytes: u64 =
        found["weights"].as_array().unwrap().iter().map(|weight| weight["bytes"].as_u64().unwrap()).sum();
    let size = fs::metadata(&file).unwrap().len();
    assert!(bytes > size / 2 && bytes < size && found["bytes"] == size, "{bytes} of {size}");
    let mut inspect = place.program("hl-export");
    let text = String::from_utf8(inspect.arg("inspect").arg(&file).output().unwrap().stdout).unwrap();
    assert!(text.contains("\nweights\n") && text.contains("hyperloader.tokenizer: "), "{text}");
    let mut inspect = place.program("hl-export");
    fs::write(place.path("text.onnx"), "no model").unwrap();
    let output = inspect.args(["inspect", "text.onnx"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn test_data_that_is_there_is_replaced_only_on_demand() {
    let place = Workplace::new();
    place.write("data/test_data_set_7/input_0.pb", "mine");
    let mut export = place.program("hl-export");
    export
        .args(["--task", "snips", "--quiet", "--no-cost", "--test-data", "data", "--run"])
        .arg(fixture("runs/nano"));
    let output = export.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && message.contains("test_data_set_7` is there already"),
        "{message}"
    );
    assert!(!place.path("snips.onnx").exists());
    assert!(export.arg("--force").output().unwrap().status.success());
    assert!(!place.path("data/test_data_set_7").exists() && place.path("data/test_data_set_1").exists());
}

#[test]
fn a_file_that_no_backend_ran_is_not_called_as_exported() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &["--no-verify"]);
    let output = place.program("hl-run").arg("verify").arg(&file).output().unwrap();
    let (report, message) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && report.contains("digests as exported, not run"), "{report}");
    assert!(message.contains("but no backend ran it"), "{message}");
    let whole = export(&place, "whole.onnx", &[]);
    let output = place.program("hl-run").args(["verify", "--device", "cuda"]).arg(&whole).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn options_without_effect_are_refused_for_foreign_checkpoints_too() {
    let place = Workplace::new();
    place.write("labels.txt", "\u{feff}a\r\nb\n");
    let error = |arguments: &[&str]| {
        let mut export = place.program("hl-export");
        export.args(["--from", "none", "--task", "t", "--labels", "labels.txt"]).args(arguments);
        let output = export.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(&["--precision", "auto", "--no-cost"]).contains("needs the measurement"));
    for (option, value) in [("--keep-f32", "x*"), ("--max-f1-drop", "0.1"), ("--valid", "none")] {
        assert!(
            error(&[option, value]).contains(&format!("`{option}` has no effect on a file in f32")),
            "{option}"
        );
    }
    assert!(error(&[]).contains("it is not a folder"), "the labels are read");
    place.write("labels.txt", "a\nB-b\n");
    assert!(error(&[]).contains("labels.txt:2: `B-b` is a tag, expected the name of a label"));
}

/// Changes the float32 elements of the initializer `name`.
fn change_floats(model: &mut ModelProto, name: &str, change: impl FnOnce(&mut Vec<f32>)) {
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
    let floats = tensor.raw_data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    let mut floats: Vec<f32> = floats.collect();
    change(&mut floats);
    tensor.raw_data = floats.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
}

fn transpose(floats: &[f32], rows: usize) -> Vec<f32> {
    let columns = floats.len() / rows;
    (0..floats.len()).map(|at| floats[at % rows * columns + at / rows]).collect()
}

/// A defect and what it does to a file of the committed run, whose width is 128, with 4 heads.
type Defect = (&'static str, fn(&mut ModelProto));

const DEFECTS: [Defect; 10] = [
    ("a transposed matrix", |model| {
        let name = "decoder.block.1.layer.0.SelfAttention.o.weight";
        change_floats(model, name, |floats| *floats = transpose(floats, 128));
    }),
    ("a dropped bias", |model| {
        change_floats(model, "encoder.block.2.layer.1.adapter.up.bias", |floats| floats.fill(0.0));
    }),
    ("a norm scaled by 1.001", |model| {
        let name = "encoder.block.1.layer.0.layer_norm.weight";
        change_floats(model, name, |floats| floats.iter_mut().for_each(|x| *x *= 1.001));
    }),
    ("two heads of the queries swapped", |model| {
        change_floats(model, "encoder.block.0.layer.0.SelfAttention.q.weight", |floats| {
            floats.chunks_exact_mut(128).for_each(|row| row[..64].rotate_left(32));
        });
    }),
    ("LoRA that was not folded", |model| {
        let name = "decoder.block.0.layer.1.EncDecAttention.q.weight";
        let file = fixture("backbones/t5-nano/model.safetensors");
        let backbone = TensorFile::open(&file).unwrap();
        let plain: Vec<f32> = backbone.floats(name).unwrap().iter().copied().collect();
        change_floats(model, name, |floats| *floats = transpose(&plain, 128));
    }),
    ("another non-linearity", |model| {
        let nodes = &mut model.graph.as_mut().unwrap().node;
        nodes.iter_mut().rfind(|node| node.op_type == "Relu").unwrap().op_type = "Abs".to_owned();
    }),
    ("positions that are one off", |model| {
        let name = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        change_floats(model, name, |floats| floats.rotate_left(1));
    }),
    ("logits scaled by 1.001", |model| {
        change_floats(model, "const/f32/0.088388346", |floats| floats[0] *= 1.001);
    }),
    ("keys and values swapped", |model| {
        let names = ["k", "v"].map(|part| format!("decoder.block.0.layer.0.SelfAttention.{part}.weight"));
        let tensors = &mut model.graph.as_mut().unwrap().initializer;
        let places = names.map(|name| tensors.iter().position(|tensor| tensor.name == name).unwrap());
        let (k, v) = (tensors[places[0]].raw_data.clone(), tensors[places[1]].raw_data.clone());
        (tensors[places[0]].raw_data, tensors[places[1]].raw_data) = (v, k);
    }),
    ("an adapter's norm without its bias", |model| {
        change_floats(model, "decoder.block.3.layer.2.adapter.norm.bias", |floats| floats.fill(0.0));
    }),
];

#[test]
fn ten_defects_change_the_answers_in_both_backends() {
    let place = Workplace::new();
    let file = export(&place, "snips.onnx", &[]);
    for (name, defect) in DEFECTS {
        let defective = changed(&file, "defective.onnx", defect);
        let (code, report, _) = verify(&place, &defective);
        let found = faults(&report);
        assert_eq!(code, Some(1), "{name}: {report}");
        for backend in ["ONNX Runtime", "tract"] {
            assert!(found.iter().any(|fault| fault.starts_with(backend)), "{name}: {found:?}");
        }
    }
}
