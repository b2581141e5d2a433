//! Compact matrices, and the graph that expands them, in both runtimes.

use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Opset, write_model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Graph, Value};
use ndarray::{Array2, s};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::blocks::{BLOCK, BlockMatrix};
use super::graph::expand_graph;
use crate::error::ModelError;
use crate::precision::content::{FileGraph, elements};
use crate::precision::matrices::{Matrix, StoredMatrices};
use crate::precision::{Precision, Storage};
use crate::weights::{Layout, Part, Source, declare};

const EXPANDED: [Precision; 3] = [Precision::F16, Precision::Bf16, Precision::Int4];
const WIDTH: usize = 128;
const OUT: usize = 160;

fn random(rows: usize, columns: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64((rows + columns) as u64);
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
}

/// The source tensors, one output channel in each row.
fn tensor(name: &str) -> Array2<f32> {
    if name == "linear" { random(OUT, WIDTH) } else { random(OUT, WIDTH) * 3.0 }
}

/// `x linearᵀ`, `x tableᵀ`, and the rows `ids` of `table`.
fn built(storage: &Storage) -> FileGraph<'static> {
    let mut graph = GraphBuilder::with_sources("products", Opset::V17);
    let tokens = Dim::from("tokens");
    let x = graph.input("x", ElementType::F32, &[tokens.clone(), WIDTH.into()]);
    let ids = graph.input("ids", ElementType::I64, std::slice::from_ref(&tokens));
    let [linear, table] = [("linear", Layout::Transposed), ("table", Layout::Same)].map(|(name, layout)| {
        let source = Source::on_demand(Part::Attention, layout, || Ok(tensor(name).into_dyn()));
        declare(&mut graph, name, &layout.of_shape(&[OUT, WIDTH]), source.quantizable())
    });
    let outputs = [
        (graph.matmul(x, linear), "by_linear", OUT),
        (graph.matmul_transposed(x, table), "by_table", OUT),
        (graph.gather(table, ids, 0), "rows", WIDTH),
    ];
    for (value, name, width) in outputs {
        graph.output(value, name, ElementType::F32, &[tokens.clone(), width.into()]);
    }
    expand_graph(graph.finish().unwrap(), storage)
}

fn opened(storage: &Storage, kind: BackendKind, folder: &std::path::Path) -> Box<dyn Graph> {
    let stored = StoredMatrices::new(storage.clone());
    let path = folder.join(format!("{}.onnx", storage.precision));
    let mut file = std::fs::File::create(&path).unwrap();
    write_model(&mut file, &built(storage), |weight: &_| elements(weight, &stored)).unwrap();
    let options = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
    Backend::load(&options).unwrap().open_file(&path).unwrap()
}

fn floats(value: &Value) -> Array2<f64> {
    let floats = value.f32s().unwrap().iter().map(|x| f64::from(*x)).collect();
    Array2::from_shape_vec((value.shape()[0], value.shape()[1]), floats).unwrap()
}

#[test]
fn int4_graphs_unpack_bytes_and_halves_are_cast() {
    insta::assert_snapshot!(built(&Precision::Int4.into()).summary());
    let halves = built(&Precision::F16.into());
    let casts = halves.model.graph.iter().flat_map(|graph| &graph.node).filter(|node| node.op_type == "Cast");
    assert_eq!(casts.count(), 2);
    assert!(halves.weights.iter().all(|weight| weight.element_type == ElementType::F16));
}

#[test]
fn a_matrix_that_is_kept_is_float32_in_the_file_and_in_the_reference_model() {
    let keep_f32 = vec![glob::Pattern::new("lin*").unwrap()];
    let storage = Storage { precision: Precision::F16, keep_f32 };
    let types: Vec<_> = built(&storage).weights.iter().map(|weight| weight.element_type).collect();
    assert_eq!(types, [ElementType::F32, ElementType::F16]);
    let stored = StoredMatrices::new(storage);
    let read = Matrix::read("linear", Some(&stored), || Ok(tensor("linear").into_dyn().into())).unwrap();
    assert_eq!(read.row(3), tensor("linear").row(3));
}

#[test]
fn both_runtimes_compute_what_the_reference_model_does() {
    let x = random(5, WIDTH);
    let ids = [0, 159, 3, 3, 77];
    let folder = tempfile::tempdir().unwrap();
    for precision in EXPANDED {
        let storage = Storage::from(precision);
        let stored = StoredMatrices::new(storage.clone());
        let matrix =
            |name: &str| Matrix::read(name, Some(&stored), || Ok(tensor(name).into_dyn().into())).unwrap();
        let wide = x.mapv(f64::from);
        let mut rows = Array2::zeros((5, WIDTH));
        for (mut row, id) in rows.outer_iter_mut().zip(ids) {
            row.assign(&matrix("table").row(id as usize).mapv(f64::from));
        }
        let expected = [matrix("linear").product(&wide), matrix("table").product(&wide), rows];
        let exact = wide.dot(&tensor("linear").mapv(f64::from).t());
        assert!(exact.iter().zip(&expected[0]).any(|(a, b)| (a - b).abs() > 1e-4), "rounding shows");
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            if precision.unsupported_by(kind).is_some() {
                continue;
            }
            let mut graph = opened(&storage, kind, folder.path());
            let inputs = Value::from_f32s(x.shape(), x.iter().copied().collect()).unwrap();
            let ids = Value::from_i64s(&[ids.len()], ids.to_vec()).unwrap();
            let outputs = graph.run(&[("x", &inputs), ("ids", &ids)]).unwrap();
            for (output, expected) in outputs.iter().zip(&expected) {
                let output = floats(output);
                assert_eq!(output.dim(), expected.dim());
                let differs = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-4;
                assert!(
                    !output.iter().zip(expected).any(differs),
                    "{precision} in {kind}: {output} {expected}"
                );
            }
        }
    }
}

#[test]
fn elements_beyond_the_range_of_float16_are_refused_by_name() {
    let mut values = random(WIDTH, WIDTH);
    values[(3, 5)] = 7e4;
    for (precision, refused) in [(Precision::F16, true), (Precision::Bf16, false), (Precision::Int4, false)] {
        let stored = StoredMatrices::new(precision.into());
        let read = Matrix::read("shared.weight", Some(&stored), || Ok(values.clone().into_dyn().into()));
        match read {
            Err(ModelError::Range { name }) => assert!(refused && name == "shared.weight"),
            Err(error) => panic!("{error}"),
            Ok(_) => assert!(!refused, "{precision}"),
        }
    }
    values[(3, 5)] = 1e6;
    assert!(matches!(BlockMatrix::new("shared.weight", &values.view()), Err(ModelError::Range { .. })));
}

proptest! {
    #[test]
    fn an_int4_element_is_within_a_step_of_the_original(
        elements in proptest::collection::vec(-1e3_f32..1e3, 2 * 2 * BLOCK),
        zeros in 0..BLOCK,
    ) {
        let mut values = Array2::from_shape_vec((2, 2 * BLOCK), elements).unwrap();
        values.slice_mut(s![0, ..zeros]).fill(0.0);
        let matrix = BlockMatrix::new("m", &values.view()).unwrap();
        let rounded = matrix.values();
        for (block, rounded) in values.exact_chunks((1, BLOCK)).into_iter().zip(rounded.exact_chunks((1, BLOCK))) {
            let most = block.fold(0.0_f32, |most, x| most.max(x.abs()));
            // The scale is an eighth of the largest magnitude, rounded to 11 bits; 8 steps in its opposite direction are cut
            // to 7.
            let step = most / 8.0 * 1.005;
            prop_assert!(block.iter().zip(rounded).all(|(a, b)| (a - b).abs() <= step));
        }
    }
}
