//! Quantized matrices, and the graph that computes with them, in both runtimes.

use hyperloader_onnx::{Dim, ElementType, GraphBuilder, Opset, write_model};
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Graph, Value};
use ndarray::{Array1, Array2, CowArray, IxDyn, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::graph::quantize_graph;
use super::matrix::QuantizedMatrix;
use crate::error::GraphError;
use crate::precision::content::{FileGraph, elements};
use crate::precision::matrices::{Matrix, StoredMatrices};
use crate::precision::{Precision, Storage};
use crate::weights::{Layout, Part, Source, TaskGraphBuilder, declare};

fn int8() -> Storage {
    Precision::Int8.into()
}

const WIDTH: usize = 128;
const OUT: usize = 150;
const SMALL: usize = 3;

fn random(rows: usize, columns: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64((rows + columns) as u64);
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
}

/// The source tensors, one output channel in each row.
fn tensor(name: &str) -> Array2<f32> {
    match name {
        "linear" => random(OUT, WIDTH),
        "table" => random(OUT, WIDTH) * 2.0,
        "small" => random(SMALL, WIDTH),
        _ => random(WIDTH, WIDTH),
    }
}

/// The matrix `name`, or a table, of a graph.
fn weight(
    graph: &mut TaskGraphBuilder<'static>,
    name: &'static str,
    layout: Layout,
    quantizable: bool,
) -> hyperloader_onnx::Value {
    let dims = layout.of_shape(tensor(name).shape());
    let source = Source::on_demand(Part::Attention, layout, || Ok(tensor(name).into_dyn()));
    declare(graph, name, &dims, if quantizable { source.quantizable() } else { source })
}

/// `x linearᵀ`, `x tableᵀ`, `x smallᵀ`, `x taskᵀ`, and the rows `ids` of `table`. `task` belongs to a task.
fn built(opset: Opset) -> FileGraph<'static> {
    let mut graph = GraphBuilder::with_sources("products", opset);
    let tokens = Dim::from("tokens");
    let x = graph.input("x", ElementType::F32, &[tokens.clone(), WIDTH.into()]);
    let ids = graph.input("ids", ElementType::I64, std::slice::from_ref(&tokens));
    let linear = weight(&mut graph, "linear", Layout::Transposed, true);
    let table = weight(&mut graph, "table", Layout::Same, true);
    let small = weight(&mut graph, "small", Layout::Transposed, true);
    let task = weight(&mut graph, "task", Layout::Transposed, false);
    let outputs = [
        (graph.matmul(x, linear), "by_linear", OUT),
        (graph.matmul_transposed(x, table), "by_table", OUT),
        (graph.matmul(x, small), "by_small", SMALL),
        (graph.matmul(x, task), "by_task", WIDTH),
        (graph.gather(table, ids, 0), "rows", WIDTH),
    ];
    for (value, name, width) in outputs {
        graph.output(value, name, ElementType::F32, &[tokens.clone(), width.into()]);
    }
    quantize_graph(graph.finish().unwrap(), &int8(), opset).unwrap()
}

fn opened(opset: Opset, kind: BackendKind, folder: &std::path::Path) -> Box<dyn Graph> {
    let quantized = StoredMatrices::new(int8());
    let path = folder.join("products.onnx");
    let mut file = std::fs::File::create(&path).unwrap();
    write_model(&mut file, &built(opset), |weight: &_| elements(weight, &quantized)).unwrap();
    let options = BackendOptions { kind, threads: Some(1), ..BackendOptions::default() };
    Backend::load(&options).unwrap().open_file(&path).unwrap()
}

fn run(graph: &mut dyn Graph, x: &Array2<f32>, ids: &[i64]) -> Vec<Array2<f32>> {
    let x = Value::from_f32s(x.shape(), x.iter().copied().collect()).unwrap();
    let ids = Value::from_i64s(&[ids.len()], ids.to_vec()).unwrap();
    let outputs = graph.run(&[("x", &x), ("ids", &ids)]).unwrap();
    let array = |value: &Value| {
        let shape = [value.shape()[0], value.shape()[1]];
        Array2::from_shape_vec(shape, value.f32s().unwrap().to_vec()).unwrap()
    };
    outputs.iter().map(array).collect()
}

#[test]
fn large_matrices_become_integers_and_small_ones_stay_float32() {
    insta::assert_snapshot!(built(Opset::default()).summary(), @r"
    graph `products`: 22 nodes, opset 18, ir 8
    inputs
      x f32 [tokens, 128]
      ids i64 [tokens]
    outputs
      by_linear f32 [tokens, 150]
      by_table f32 [tokens, 150]
      by_small f32 [tokens, 3]
      by_task f32 [tokens, 128]
      rows f32 [tokens, 128]
    inner values
    operators
      Abs 1
      Cast 3
      Div 2
      Gather 2
      MatMul 2
      MatMulInteger 2
      Max 1
      Mul 5
      QuantizeLinear 1
      ReduceMax 1
      Transpose 1
      Unsqueeze 1
    initializers 11, 55473 elements
    ");
}

#[test]
fn a_quantized_matrix_is_within_half_a_step_of_the_original() {
    let mut values = tensor("linear");
    values.row_mut(7).fill(0.0);
    let matrix = QuantizedMatrix::new(&values.view());
    assert!(matrix.integers.iter().all(|integer| *integer >= -127), "-128 has no opposite");
    assert_eq!(matrix.integers.row(7), Array1::<i8>::zeros(WIDTH));
    let rows = matrix.rows(0..OUT);
    for ((row, original), scale) in rows.outer_iter().zip(values.outer_iter()).zip(&matrix.scales) {
        assert!(row.iter().zip(original).all(|(a, b)| (a - b).abs() <= 0.5001 * scale));
    }
}

#[test]
fn a_matrix_is_quantized_once_and_freed_after_it_was_written() {
    let quantized = StoredMatrices::new(int8());
    let read =
        |name: &str| Matrix::read(name, Some(&quantized), || Ok(tensor(name).into_dyn().into())).unwrap();
    assert!(matches!(read("linear"), Matrix::Integers(_)));
    assert!(matches!(read("small"), Matrix::Floats(_)));
    let again = || -> Result<CowArray<'static, f32, IxDyn>, _> { panic!("read again") };
    assert!(matches!(Matrix::read("linear", Some(&quantized), again).unwrap(), Matrix::Integers(_)));
    let mut bytes = Vec::new();
    write_model(&mut bytes, &built(Opset::default()), |weight: &_| elements(weight, &quantized)).unwrap();
    let known = |name| Matrix::read(name, Some(&quantized), || Ok(random(1, 1).into_dyn().into())).unwrap();
    assert!(matches!(known("linear"), Matrix::Floats(_)) && matches!(known("table"), Matrix::Floats(_)));
}

#[test]
fn a_node_that_reads_a_matrix_in_another_way_is_an_error() {
    let mut graph = GraphBuilder::with_sources("sum", Opset::default());
    let linear = weight(&mut graph, "linear", Layout::Transposed, true);
    let sum = graph.add(linear, linear);
    graph.output(sum, "sum", ElementType::F32, &[WIDTH.into(), OUT.into()]);
    let error = quantize_graph(graph.finish().unwrap(), &int8(), Opset::default()).unwrap_err();
    assert!(matches!(&error, GraphError::Reader { weight, .. } if weight == "linear"), "{error}");
}

#[test]
fn both_runtimes_multiply_as_the_reference_model_does_and_each_token_by_itself() {
    let mut x = random(5, WIDTH) * 3.0;
    x.row_mut(2).fill(0.0);
    x.row_mut(3).mapv_inplace(|x| x * 1e4);
    let ids = [0, 149, 3, 3, 77];
    let folder = tempfile::tempdir().unwrap();
    let quantized = StoredMatrices::new(int8());
    let matrix =
        |name: &str| Matrix::read(name, Some(&quantized), || Ok(tensor(name).into_dyn().into())).unwrap();
    for opset in [Opset::V17, Opset::V18] {
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            let mut graph = opened(opset, kind, folder.path());
            let outputs = run(graph.as_mut(), &x, &ids);

            let wide = x.mapv(f64::from);
            let table = matrix("table");
            let mut rows = Array2::zeros((5, WIDTH));
            for (mut row, id) in rows.outer_iter_mut().zip(ids) {
                row.assign(&table.row(id as usize).mapv(f64::from));
            }
            let expected = [
                matrix("linear").product(&wide),
                table.product(&wide),
                matrix("small").product(&wide),
                wide.dot(&tensor("task").mapv(f64::from).t()),
                rows,
            ];
            for (output, expected) in outputs.iter().zip(&expected) {
                assert_eq!(output.dim(), expected.dim());
                for (output, expected) in output.outer_iter().zip(expected.outer_iter()) {
                    let most = expected.fold(1e-20, |most: f64, x| most.max(x.abs()));
                    let differ = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() > 1e-5 * most;
                    assert!(!output.iter().zip(expected).any(differ), "{kind}: {output} {expected}");
                }
            }
            for token in 0..5 {
                let alone =
                    run(graph.as_mut(), &x.slice(s![token..=token, ..]).to_owned(), &ids[token..=token]);
                for (alone, together) in alone.iter().zip(&outputs).take(2) {
                    assert_eq!(alone.row(0), together.row(token), "{kind}: token {token}");
                }
            }
        }
    }
}
