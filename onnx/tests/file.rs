//! Model files: what is written is what prost would write, and is read back; broken files are refused by name.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
#[cfg(unix)]
use std::os::fd::AsRawFd;
use std::path::Path;

use common::{counting_elements, two_stage_model};
use hyperloader_onnx::proto::{
    AttributeProto, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue,
};
use hyperloader_onnx::{
    BuiltModel, Bytes, ElementType, GraphBuilder, Opset, WeightFile, WriteError, decode_model, read_model,
    write_model,
};
use proptest::prelude::*;
use prost::Message;
use tempfile::TempDir;

fn written(built: &BuiltModel) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count =
        write_model(&mut bytes, built, |weight| Ok::<_, Infallible>(counting_elements(weight))).unwrap();
    assert_eq!(count, bytes.len() as u64);
    bytes
}

/// The model with its weights in memory.
fn filled(built: &BuiltModel) -> ModelProto {
    let mut model = built.model.clone();
    let tensors = built.weights.iter().map(|weight| {
        TensorProto::from_raw(&weight.name, weight.element_type, &weight.dims, counting_elements(weight))
    });
    model.graph.as_mut().unwrap().initializer.extend(tensors);
    model
}

#[test]
fn streamed_bytes_equal_prosts_encoding() {
    for opset in [Opset::V17, Opset::V18] {
        let built = two_stage_model(opset);
        assert_eq!(written(&built), filled(&built).encode_to_vec());
    }
}

/// A model that only has these weights: lengths of their names, numbers of their elements.
fn weights_only(weights: &[(usize, usize)]) -> BuiltModel {
    let mut graph = GraphBuilder::new("weights", Opset::default());
    for (at, &(name, count)) in weights.iter().enumerate() {
        let name = format!("{at}{}", "w".repeat(name));
        let weight = graph.weight(&name, ElementType::F32, &[count]);
        let copy = graph.identity(weight);
        graph.output(copy, &format!("out{at}"), ElementType::F32, &[count.into()]);
    }
    graph.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn large_weights_are_aligned_and_parts_refer_to_them_alone(
        weights in prop::collection::vec((0_usize..200, prop_oneof![0_usize..600, 4000_usize..4300]), 1..6),
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("model.onnx");
        let built = weights_only(&weights);
        let bytes = written(&built);
        fs::write(&path, &bytes).unwrap();
        let file = WeightFile::open(&path).unwrap();
        let (part, base) = file.refer(&file.model().unwrap()).unwrap();
        prop_assert_eq!(Path::new(&base), folder.path().canonicalize().unwrap());
        for (tensor, whole) in part.graph.unwrap().initializer.iter().zip(filled(&built).graph.unwrap().initializer) {
            prop_assert_eq!((&tensor.name, &tensor.dims), (&whole.name, &whole.dims));
            if whole.raw_data.len() >= 1024 {
                let entries = tensor.external_data.iter().map(|entry| (entry.key.as_str(), entry.value.as_str()));
                let entries: BTreeMap<&str, &str> = entries.collect();
                let number = |key| entries[key].parse::<usize>().unwrap();
                prop_assert_eq!((entries["location"], number("offset") % 64), ("model.onnx", 0));
                prop_assert!(tensor.raw_data.is_empty() && tensor.data_location == 1);
                prop_assert_eq!(&bytes[number("offset")..][..number("length")], &whole.raw_data[..]);
            } else {
                prop_assert_eq!(tensor, &whole);
            }
        }
    }
}

#[test]
fn weights_are_aligned_wherever_the_graphs_length_takes_one_byte_more() {
    // A length of 16,384 takes a third byte, which moves all weights and so the padding before them.
    for name in 0..200 {
        let bytes = Bytes::from(written(&weights_only(&[(name, 4064), (7, 300)])));
        let model = decode_model(bytes.clone(), "model.onnx".as_ref()).unwrap();
        for tensor in model.graph.unwrap().initializer {
            let offset = tensor.raw_data.as_ptr() as usize - bytes.as_ptr() as usize;
            assert_eq!(offset % 64, 0, "a name of {name}");
        }
    }
    for count in 3700..4097 {
        let bytes = Bytes::from(written(&weights_only(&[(3, count)])));
        let model = decode_model(bytes.clone(), "model.onnx".as_ref()).unwrap();
        let offset = model.graph.unwrap().initializer[0].raw_data.as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % 64, 0, "{count} elements");
    }
}

#[test]
fn tensors_outside_the_file_are_not_referred_to() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let built = weights_only(&[(3, 1000)]);
    fs::write(&path, written(&built)).unwrap();
    let elsewhere = filled(&built);
    assert_eq!(WeightFile::open(&path).unwrap().refer(&elsewhere).unwrap().0, elsewhere);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_and_not_referred_to() {
    let built = weights_only(&[(3, 1000)]);
    let (reader, mut writer) = io::pipe().unwrap();
    let bytes = written(&built);
    let thread = std::thread::spawn(move || writer.write_all(&bytes));
    let path = format!("/dev/fd/{}", reader.as_raw_fd());
    let file = WeightFile::open(path.as_ref()).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(
        file.model().unwrap().graph,
        decode_model(written(&built).into(), path.as_ref()).unwrap().graph
    );
    assert!(file.refer(&filled(&built)).is_none());
}

#[test]
fn weights_without_elements_stream_like_prost() {
    let mut graph = GraphBuilder::new("empty", Opset::default());
    let nothing = graph.weight("nothing", ElementType::F32, &[0, 4]);
    let copy = graph.identity(nothing);
    graph.output(copy, "copy", ElementType::F32, &[0_usize.into(), 4_usize.into()]);
    let built = graph.finish().unwrap();
    assert_eq!(written(&built), filled(&built).encode_to_vec());
}

#[test]
fn a_written_file_reads_back_equal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.onnx");
    let built = two_stage_model(Opset::default());
    fs::write(&path, written(&built)).unwrap();
    let model = read_model(&path).unwrap();
    assert_eq!(model, filled(&built));
    assert_eq!(model.metadata(), [("task", "mtop")].into());
}

#[test]
fn decoded_weights_share_the_files_buffer() {
    let bytes = Bytes::from(written(&two_stage_model(Opset::default())));
    let model = decode_model(bytes.clone(), "model.onnx".as_ref()).unwrap();
    let buffer = bytes.as_ptr_range();
    let graph = model.graph.unwrap();
    assert!(graph.initializer.iter().all(|tensor| buffer.contains(&tensor.raw_data.as_ptr())));
}

#[test]
fn every_truncation_is_refused_with_the_files_name() {
    let bytes = written(&two_stage_model(Opset::default()));
    let graph_end = bytes.len() - tail_len();
    for length in 0..=graph_end {
        let part = Bytes::copy_from_slice(&bytes[..length]);
        let error = decode_model(part, "cut.onnx".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("`cut.onnx` is not a whole ONNX model: "), "{length}: {error}");
    }
}

/// Bytes of the operator set and the metadata, which end the file.
fn tail_len() -> usize {
    let model = two_stage_model(Opset::default()).model;
    ModelProto {
        opset_import: model.opset_import,
        metadata_props: model.metadata_props,
        ..ModelProto::default()
    }
    .encoded_len()
}

#[test]
fn broken_models_are_refused_with_the_reason() {
    let whole = filled(&two_stage_model(Opset::default()));
    type Break = fn(&mut ModelProto);
    let breaks: [(&str, Break); 10] = [
        ("no graph", |model| model.graph = None),
        ("no opset", |model| model.opset_import.clear()),
        ("metadata twice", |model| model.metadata_props.extend(model.metadata_props.clone())),
        ("short tensor", |model| {
            let tensor = &mut model.graph.as_mut().unwrap().initializer[1];
            tensor.raw_data = tensor.raw_data.slice(1..);
        }),
        ("negative shape", |model| model.graph.as_mut().unwrap().initializer[1].dims = vec![-3, 4]),
        ("huge shape", |model| model.graph.as_mut().unwrap().initializer[1].dims = vec![i64::MAX, i64::MAX]),
        ("elements of another type", |model| {
            let tensor = &mut model.graph.as_mut().unwrap().initializer[1];
            (tensor.data_type, tensor.int32_data) = (ElementType::I64.code(), vec![1; 12]);
            tensor.raw_data = Bytes::new();
        }),
        ("elements twice", |model| model.graph.as_mut().unwrap().initializer[1].float_data = vec![1.0; 12]),
        ("an unknown type", |model| model.graph.as_mut().unwrap().initializer[1].data_type = 11),
        ("two of one name", |model| {
            let tensor = model.graph.as_ref().unwrap().initializer[1].clone();
            model.graph.as_mut().unwrap().initializer.push(tensor);
        }),
    ];
    let messages: Vec<String> = breaks
        .iter()
        .map(|(what, damage)| {
            let mut model = whole.clone();
            damage(&mut model);
            let error = decode_model(model.encode_to_vec().into(), "m.onnx".as_ref()).unwrap_err();
            format!("{what}: {error}")
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}

/// A graph that no backend should see, after one change of a good one.
#[test]
fn graphs_beyond_the_limits_are_refused_with_the_limit() {
    type Change = fn(&mut GraphProto);
    let integers = |name: &str, numbers: &[i64]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        TensorProto::from_raw(name, ElementType::I64, &[numbers.len()], bytes.into())
    };
    let whole = filled(&two_stage_model(Opset::default()));
    let changes: [(&str, Change); 15] = [
        ("an operator that repeats data", |graph| graph.node[0].op_type = "ConstantOfShape".into()),
        ("an operator of another domain", |graph| graph.node[0].domain = "com.example".into()),
        ("a cycle", |graph| {
            let last = graph.node.last().unwrap().output[0].clone();
            graph.node[0].input.push(last);
        }),
        ("a huge attribute", |graph| graph.node[0].attribute.push(AttributeProto::int("axis", 1 << 40))),
        ("a long list", |graph| graph.node[0].attribute.push(AttributeProto::ints("perm", &[0; 17]))),
        ("a tensor in an attribute", |graph| {
            let tensor = Some(graph.initializer[0].clone());
            graph.node[0].attribute.push(AttributeProto { t: tensor, ..AttributeProto::int("value", 0) });
        }),
        ("an inner graph", |graph| {
            let inner = Some(GraphProto::default());
            graph.node[0].attribute.push(AttributeProto { g: inner, ..AttributeProto::int("body", 0) });
        }),
        ("many attributes", |graph| {
            graph.node[0].attribute = (0..17).map(|n| AttributeProto::int(&n.to_string(), n)).collect();
        }),
        ("many inputs", |graph| graph.node[0].input = vec![String::new(); 2000]),
        ("a long name", |graph| graph.node[0].name = "x".repeat(2000)),
        ("many dimensions", |graph| {
            graph.initializer[0].dims = [graph.initializer[0].dims.clone(), vec![1; 17]].concat()
        }),
        ("many dimensions of nothing", |graph| {
            graph.initializer[0].dims = vec![0, 1 << 40];
            graph.initializer[0].raw_data = Bytes::new();
        }),
        ("a dimension that is a formula", |graph| rename_dimension(graph, "(a+b)*(c+d)")),
        ("a dimension with a long name", |graph| rename_dimension(graph, &"d".repeat(100))),
        ("a negative dimension", |graph| set_dimension(graph, DimensionValue::DimValue(-5))),
    ];
    let refused = |graph: GraphProto| {
        let model = ModelProto { graph: Some(graph), ..whole.clone() };
        decode_model(model.encode_to_vec().into(), "m.onnx".as_ref()).unwrap_err().to_string()
    };
    let mut messages: Vec<String> = Vec::new();
    for (what, change) in changes {
        let mut graph = whole.graph.clone().unwrap();
        change(&mut graph);
        messages.push(format!("{what}: {}", refused(graph)));
    }
    for repeats in ["ConstantOfShape", "Expand", "Tile", "Pad", "Resize", "OneHot", "EyeLike", "Loop", "If"] {
        let mut graph = whole.graph.clone().unwrap();
        graph.node[0].op_type = repeats.into();
        assert!(refused(graph).contains(&format!("has the operator `{repeats}`, which no tagger has")));
    }
    for (what, numbers) in
        [("a huge constant", [0, i64::MAX, 1]), ("a long range", [0, 1 << 21, 1]), ("no step", [0, 5, 0])]
    {
        let mut graph = whole.graph.clone().unwrap();
        let names = ["first", "limit", "step"];
        graph.initializer.extend(names.iter().zip(numbers).map(|(name, number)| integers(name, &[number])));
        let input = names.map(str::to_owned).into();
        graph.node.push(NodeProto {
            op_type: "Range".into(),
            name: "range".into(),
            input,
            ..NodeProto::default()
        });
        messages.push(format!("{what}: {}", refused(graph)));
    }
    insta::assert_snapshot!(messages.join("\n"));
}

fn set_dimension(graph: &mut GraphProto, value: DimensionValue) {
    let Some(TypeValue::TensorType(tensor)) = graph.input[0].r#type.as_mut().unwrap().value.as_mut() else {
        panic!()
    };
    tensor.shape.as_mut().unwrap().dim[0].value = Some(value);
}

fn rename_dimension(graph: &mut GraphProto, name: &str) {
    set_dimension(graph, DimensionValue::DimParam(name.to_owned()));
}

#[test]
fn missing_and_oversized_files_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("huge.onnx");
    File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let error = read_model(&path).unwrap_err().to_string();
    assert!(error.contains("huge.onnx` has 3221225472 bytes"), "{error}");
    let error = read_model(&folder.path().join("none.onnx")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read model") && error.contains("none.onnx"), "{error}");
}

#[test]
fn a_weight_that_does_not_fill_its_shape_is_refused() {
    let built = two_stage_model(Opset::default());
    let short = |_: &_| Ok::<_, Infallible>(Bytes::from_static(&[0; 7]));
    let error = write_model(&mut io::sink(), &built, short).unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn a_weight_whose_elements_are_not_supplied_is_named() {
    let built = two_stage_model(Opset::default());
    let absent = |_: &_| Err::<Bytes, _>(io::Error::other("gone"));
    let error = write_model(&mut io::sink(), &built, absent).unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn a_model_above_two_gigabytes_is_refused_before_anything_is_written() {
    let mut graph = GraphBuilder::new("large", Opset::default());
    let weight = graph.weight("large.weight", ElementType::F32, &[1 << 15, 1 << 15]);
    let copy = graph.identity(weight);
    graph.output(copy, "copy", ElementType::F32, &[(1_usize << 15).into(), (1_usize << 15).into()]);
    let mut out = Vec::new();
    let never = |_: &_| -> Result<Bytes, io::Error> { unreachable!("no element is asked for") };
    let error = write_model(&mut out, &graph.finish().unwrap(), never).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { bytes } if bytes > 1 << 32), "{error}");
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_model(bytes.into(), "noise.onnx".as_ref());
    }

    #[test]
    fn a_damaged_model_never_panics(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = written(&two_stage_model(Opset::default()));
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(model) = decode_model(bytes.into(), "damaged.onnx".as_ref()) {
            let _ = hyperloader_onnx::extract(&model, &["source"], &["hidden"]);
            let _ = hyperloader_onnx::summary::summary(&model);
        }
    }
}
