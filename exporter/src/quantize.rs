//! The same model in bytes: matrices as int8, products in integers.
//!
//! A matrix is stored as integers from -127 to 127 with a scale for each output channel, its largest magnitude / 127.
//! What is multiplied with it is brought to bytes as it comes, each token by its own largest magnitude (token-wise
//! quantization: Yao et al. 2022, arXiv 2206.01861), and sums of integers are exact: a product gives a token the same
//! whatever stands beside it.
//!
//! Only the backbone's large matrices are. Norms, adapters, generators and position tables stay in float32: they cost
//! little, and they are what a task has of its own. Operators are ONNX's own, as in the model in float32.

use std::collections::{HashMap, HashSet};

use hyperloader_core::run::{Manifest, Task};
use hyperloader_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use hyperloader_onnx::{BuiltModel, Bytes, ElementType, Opset, Weight};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::export::{ExportError, Exportable, Interface, Precision, oracle};
use crate::graph::GraphError;
use crate::model::{ModelError, TaskModel};
use crate::verify::Oracle;

/// Matrices with fewer rows or columns stay in float32.
const SMALLEST: usize = 128;
/// The largest magnitude of an integer.
const LIMIT: f32 = 127.0;
/// Stands for the largest magnitude of tokens that are all zero.
const LEAST: f32 = 1e-30;
/// What a token's 0 becomes: runtimes on x86 multiply unsigned by signed bytes.
const ZERO_POINT: u8 = 128;

const LIMIT_NAME: &str = "const/int8/limit";
const LEAST_NAME: &str = "const/int8/least";
const STEP_NAME: &str = "const/int8/step";
const ZERO_POINT_NAME: &str = "const/int8/zero_point";
const LAST_AXIS_NAME: &str = "const/int8/last_axis";

/// Ends the name of a matrix's scales.
const SCALE: &str = ".scale";

/// Where a matrix has its output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channels {
    /// `[out, in]`: the head, and the embedding, whose rows are looked up.
    Rows,
    /// `[in, out]`.
    Columns,
}

impl Channels {
    /// How `node` reads the matrix `name`; `None` if not as a matrix.
    fn read_by(node: &NodeProto, name: &str) -> Option<Self> {
        let [first, second] = &node.input[..] else { return None };
        match (node.op_type.as_str(), &node.attribute[..]) {
            ("MatMul", []) if first != name && second == name => Some(Self::Columns),
            ("Gemm", [only]) if first != name && second == name && *only == transposed() => Some(Self::Rows),
            ("Gather", [only]) if first == name && second != name && *only == by_row() => Some(Self::Rows),
            _ => None,
        }
    }

    fn axis(self) -> Axis {
        match self {
            Self::Rows => Axis(0),
            Self::Columns => Axis(1),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Matrix {
    dims: [usize; 2],
    channels: Channels,
}

fn transposed() -> AttributeProto {
    AttributeProto::int("transB", 1)
}

fn by_row() -> AttributeProto {
    AttributeProto::int("axis", 0)
}

/// A task's model whose large matrices are written as int8.
#[derive(Debug)]
pub(crate) struct Quantized {
    model: TaskModel,
    matrices: HashMap<String, Matrix>,
}

impl Quantized {
    /// `model` in bytes.
    ///
    /// # Errors
    /// If its graph cannot be built.
    pub(crate) fn new(model: TaskModel) -> Result<Self, GraphError> {
        let backbone = model.config().tensors();
        let matrices = matrices(&model.graph(Opset::default())?, |name| backbone.contains_key(name));
        Ok(Self { model, matrices })
    }

    /// The matrix `name` as integers, `[rows, columns]`, with the scales of its channels.
    fn quantized(&self, name: &str, matrix: Matrix) -> Result<(Array2<i8>, Array1<f32>), ModelError> {
        let weight =
            Weight { name: name.to_owned(), element_type: ElementType::F32, dims: matrix.dims.to_vec() };
        let bytes = self.model.elements(&weight)?;
        let elements = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let misfit = |_| ModelError::Shape { name: name.to_owned(), found: weight.dims.clone() };
        let values = Array2::from_shape_vec(matrix.dims, elements).map_err(misfit)?;
        Ok(quantized(&values.view(), matrix.channels.axis()))
    }
}

fn is_large(rows: usize, columns: usize) -> bool {
    rows.min(columns) >= SMALLEST
}

/// `x Wᵀ` of tokens `x` `[tokens, in]` and a matrix `[out, in]` as a file in bytes computes it, but in float64.
pub(crate) fn product(x: &Array2<f64>, matrix: &ArrayView2<'_, f32>) -> Array2<f64> {
    let mut tokens = x.clone();
    if is_large(matrix.nrows(), matrix.ncols()) {
        for mut token in tokens.outer_iter_mut() {
            let most = token.fold(f64::from(LEAST), |most, x| most.max(x.abs()));
            let step = most / f64::from(LIMIT);
            token.mapv_inplace(|x| (x / step).round_ties_even() * step);
        }
    }
    tokens.dot(&stored(matrix).mapv(f64::from).t())
}

/// What the matrix `[out, in]`, or the table `[ids, width]`, is in a file in bytes.
pub(crate) fn stored(matrix: &ArrayView2<'_, f32>) -> Array2<f32> {
    if !is_large(matrix.nrows(), matrix.ncols()) {
        return matrix.to_owned();
    }
    let (integers, scales) = quantized(matrix, Axis(0));
    integers.mapv(f32::from) * scales.insert_axis(Axis(1))
}

/// `values` as integers, with the scales by which those of each channel are to be multiplied; channels lie along `axis`.
fn quantized(values: &ArrayView2<'_, f32>, axis: Axis) -> (Array2<i8>, Array1<f32>) {
    let scale = |channel: ArrayView1<'_, f32>| match channel.fold(0.0, |most: f32, x| most.max(x.abs())) {
        0.0 => 1.0,
        most => most / LIMIT,
    };
    let scales: Array1<f32> = values.axis_iter(axis).map(scale).collect();
    let mut integers = Array2::zeros(values.dim());
    let channels = values.axis_iter(axis).zip(integers.axis_iter_mut(axis));
    for ((values, mut integers), scale) in channels.zip(&scales) {
        integers.zip_mut_with(&values, |integer, x| *integer = (x / scale).round_ties_even() as i8);
    }
    (integers, scales)
}

impl Exportable for Quantized {
    fn graph(&self, opset: Opset) -> Result<BuiltModel, GraphError> {
        Ok(in_bytes(self.model.graph(opset)?, &self.matrices, opset))
    }

    fn elements(&self, weight: &Weight) -> Result<Bytes, ModelError> {
        if let Some(matrix) = self.matrices.get(&weight.name) {
            let (integers, _) = self.quantized(&weight.name, *matrix)?;
            return Ok(integers.iter().flat_map(|integer| integer.to_le_bytes()).collect());
        }
        let scaled = weight.name.strip_suffix(SCALE).and_then(|name| self.matrices.get_key_value(name));
        if let Some((name, matrix)) = scaled {
            let (_, scales) = self.quantized(name, *matrix)?;
            return Ok(scales.iter().flat_map(|scale| scale.to_le_bytes()).collect());
        }
        self.model.elements(weight)
    }

    fn oracle(&self, manifest: &Manifest, task: &Task) -> Result<Oracle, ExportError> {
        oracle(&self.model, manifest, task, Precision::Int8)
    }

    fn interface(&self, manifest: &Manifest) -> Result<Interface, ExportError> {
        self.model.interface(manifest)
    }
}

/// The large weights of `built`, as far as they are `eligible`, that are read as matrices, always in one way.
fn matrices(built: &BuiltModel, eligible: impl Fn(&str) -> bool) -> HashMap<String, Matrix> {
    let nodes = || built.model.graph.iter().flat_map(|graph| &graph.node);
    let matrix = |weight: &Weight| {
        let &[rows, columns] = &weight.dims[..] else { return None };
        let mut readers = nodes().filter(|node| node.input.contains(&weight.name));
        let channels = Channels::read_by(readers.next()?, &weight.name)?;
        let one_way = readers.all(|node| Channels::read_by(node, &weight.name) == Some(channels));
        let taken = one_way && is_large(rows, columns) && eligible(&weight.name);
        taken.then(|| (weight.name.clone(), Matrix { dims: [rows, columns], channels }))
    };
    built.weights.iter().filter_map(matrix).collect()
}

/// `built` with `matrices` as int8, and what reads them rewritten.
fn in_bytes(mut built: BuiltModel, matrices: &HashMap<String, Matrix>, opset: Opset) -> BuiltModel {
    let weights = built.weights.into_iter().flat_map(|weight| match matrices.get(&weight.name) {
        None => vec![weight],
        Some(Matrix { dims, channels }) => {
            let (name, channels) = (format!("{}{SCALE}", weight.name), dims[channels.axis().index()]);
            let scale = Weight { name, element_type: ElementType::F32, dims: vec![channels] };
            vec![Weight { element_type: ElementType::I8, ..weight }, scale]
        }
    });
    built.weights = weights.collect();
    if let Some(graph) = &mut built.model.graph {
        let mut rewriting = Rewriting { opset, nodes: Vec::new(), tokens: HashSet::new() };
        for node in std::mem::take(&mut graph.node) {
            match node.input.iter().any(|name| matrices.contains_key(name)) {
                true => rewriting.rewrite(node),
                false => rewriting.nodes.push(node),
            }
        }
        graph.node = rewriting.nodes;
        add_constants(graph);
    }
    built
}

fn add_constants(graph: &mut GraphProto) {
    let scalar = |name, element_type, bytes: &[u8]| {
        TensorProto::from_raw(name, element_type, &[], Bytes::copy_from_slice(bytes))
    };
    graph.initializer.extend([
        scalar(LIMIT_NAME, ElementType::F32, &LIMIT.to_le_bytes()),
        scalar(LEAST_NAME, ElementType::F32, &LEAST.to_le_bytes()),
        scalar(STEP_NAME, ElementType::F32, &1_f32.to_le_bytes()),
        scalar(ZERO_POINT_NAME, ElementType::U8, &[ZERO_POINT]),
        TensorProto::from_raw(LAST_AXIS_NAME, ElementType::I64, &[1], (-1_i64).to_le_bytes().to_vec().into()),
    ]);
}

/// The nodes of a graph as they are rewritten.
struct Rewriting {
    opset: Opset,
    nodes: Vec<NodeProto>,
    /// Values whose tokens are in bytes already.
    tokens: HashSet<String>,
}

impl Rewriting {
    /// The same from a matrix of integers; what `node` gives keeps its name.
    fn rewrite(&mut self, node: NodeProto) {
        let [first, second] = [0, 1].map(|index| node.input[index].clone());
        let (float, scale) = match node.op_type.as_str() {
            "Gather" => self.looked_up(&node.name, &first, &second),
            "Gemm" => {
                let perm = vec![AttributeProto::ints("perm", &[1, 0])];
                let matrix = self.add(&node.name, "Transpose", &[&second], perm);
                self.multiplied(&node.name, &first, &matrix, &second)
            }
            _ => self.multiplied(&node.name, &first, &second, &second),
        };
        self.nodes.push(NodeProto {
            input: vec![float, scale],
            op_type: "Mul".to_owned(),
            attribute: Vec::new(),
            ..node
        });
    }

    /// Rows `ids` of the matrix `name`, and their scales.
    fn looked_up(&mut self, scope: &str, name: &str, ids: &str) -> (String, String) {
        let rows = self.add(scope, "Gather", &[name, ids], vec![by_row()]);
        let scales = self.add(scope, "Gather_1", &[&format!("{name}{SCALE}"), ids], vec![by_row()]);
        let scales = self.add(scope, "Unsqueeze", &[&scales, LAST_AXIS_NAME], vec![]);
        (self.float(scope, &rows), scales)
    }

    /// The product of the value `read` and `matrix`, the matrix `name` `[in, out]`, and the scales of each of its elements.
    fn multiplied(&mut self, scope: &str, read: &str, matrix: &str, name: &str) -> (String, String) {
        let (tokens, steps) = self.in_bytes(read);
        let sums = self.add(scope, "MatMulInteger", &[&tokens, matrix, ZERO_POINT_NAME], vec![]);
        let scales = self.add(scope, "Mul", &[&steps, &format!("{name}{SCALE}")], vec![]);
        (self.float(scope, &sums), scales)
    }

    fn float(&mut self, scope: &str, integers: &str) -> String {
        let to = AttributeProto::int("to", ElementType::F32.code().into());
        self.add(scope, "Cast", &[integers], vec![to])
    }

    /// The value `read`, `[.., width]`, in bytes, and `[.., 1]`, what one of them stands for in each token.
    fn in_bytes(&mut self, read: &str) -> (String, String) {
        let scope = format!("/int8/{}", read.trim_start_matches('/'));
        let names = ["QuantizeLinear", "Div"].map(|op| output(&scope, op));
        if self.tokens.insert(read.to_owned()) {
            let magnitudes = self.add(&scope, "Abs", &[read], vec![]);
            let keep = AttributeProto::int("keepdims", 1);
            let most = match self.opset {
                Opset::V17 => {
                    let axes = AttributeProto::ints("axes", &[-1]);
                    self.add(&scope, "ReduceMax", &[&magnitudes], vec![axes, keep])
                }
                Opset::V18 => self.add(&scope, "ReduceMax", &[&magnitudes, LAST_AXIS_NAME], vec![keep]),
            };
            let most = self.add(&scope, "Max", &[&most, LEAST_NAME], vec![]);
            let steps = self.add(&scope, "Div", &[&most, LIMIT_NAME], vec![]);
            let scaled = self.add(&scope, "Div_1", &[read, &steps], vec![]);
            self.add(&scope, "QuantizeLinear", &[&scaled, STEP_NAME, ZERO_POINT_NAME], vec![]);
        }
        names.into()
    }

    /// Adds the node `name` in `scope` and gives its output.
    fn add(&mut self, scope: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let output = output(scope, name);
        self.nodes.push(NodeProto {
            name: format!("{scope}/{name}"),
            op_type: name.split('_').next().unwrap_or(name).to_owned(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output.clone()],
            attribute,
            ..NodeProto::default()
        });
        output
    }
}

/// What the node `name` in `scope` gives.
fn output(scope: &str, name: &str) -> String {
    format!("{scope}/{name}_output_0")
}

#[cfg(test)]
mod tests {
    use hyperloader_onnx::{Dim, GraphBuilder, write_model};
    use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Graph, Value};
    use ndarray::{Axis, s};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const WIDTH: usize = 128;
    const OUT: usize = 150;
    const SMALL: usize = 3;

    fn random(rows: usize, columns: usize) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64((rows + columns) as u64);
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
    }

    /// `[in, out]`.
    fn columns() -> Array2<f32> {
        random(WIDTH, OUT)
    }

    /// `[out, in]`, also the table.
    fn rows() -> Array2<f32> {
        random(OUT, WIDTH)
    }

    fn small() -> Array2<f32> {
        random(WIDTH, SMALL)
    }

    /// A task's own, in float32.
    fn own() -> Array2<f32> {
        random(WIDTH, WIDTH)
    }

    /// `x columns`, `x rows^T`, `x small`, `x own`, and the rows `ids`.
    fn built(opset: Opset) -> BuiltModel {
        let mut graph = GraphBuilder::new("products", opset);
        let tokens = Dim::from("tokens");
        let x = graph.input("x", ElementType::F32, &[tokens.clone(), WIDTH.into()]);
        let ids = graph.input("ids", ElementType::I64, std::slice::from_ref(&tokens));
        let weight = |graph: &mut GraphBuilder, name, dims| graph.weight(name, ElementType::F32, dims);
        let columns = weight(&mut graph, "columns", &[WIDTH, OUT]);
        let rows = weight(&mut graph, "rows", &[OUT, WIDTH]);
        let small = weight(&mut graph, "small", &[WIDTH, SMALL]);
        let own = weight(&mut graph, "own", &[WIDTH, WIDTH]);
        let outputs = [
            (graph.matmul(x, columns), "by_columns", OUT),
            (graph.matmul_transposed(x, rows), "by_rows", OUT),
            (graph.matmul(x, small), "by_small", SMALL),
            (graph.matmul(x, own), "by_own", WIDTH),
            (graph.gather(rows, ids, 0), "looked_up", WIDTH),
        ];
        for (value, name, width) in outputs {
            graph.output(value, name, ElementType::F32, &[tokens.clone(), width.into()]);
        }
        let built = graph.finish().unwrap();
        let matrices = matrices(&built, |name| name != "own");
        in_bytes(built, &matrices, opset)
    }

    fn opened(opset: Opset, kind: BackendKind, folder: &std::path::Path) -> Box<dyn Graph> {
        let elements = |weight: &Weight| -> Result<Bytes, ModelError> {
            let scaled = weight.name.trim_end_matches(SCALE);
            let (matrix, axis) = match scaled {
                "columns" => (columns(), Axis(1)),
                "rows" => (rows(), Axis(0)),
                "small" => return Ok(small().iter().flat_map(|x| x.to_le_bytes()).collect()),
                _ => return Ok(own().iter().flat_map(|x| x.to_le_bytes()).collect()),
            };
            let (integers, scales) = quantized(&matrix.view(), axis);
            Ok(match weight.name.ends_with(SCALE) {
                true => scales.iter().flat_map(|x| x.to_le_bytes()).collect(),
                false => integers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            })
        };
        let path = folder.join("products.onnx");
        write_model(&mut std::fs::File::create(&path).unwrap(), &built(opset), elements).unwrap();
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
    fn large_matrices_are_bytes_and_small_ones_are_not() {
        insta::assert_snapshot!(built(Opset::default()).summary(), @r"
        graph `products`: 22 nodes, opset 18, ir 8
        inputs
          x f32 [tokens, 128]
          ids i64 [tokens]
        outputs
          by_columns f32 [tokens, 150]
          by_rows f32 [tokens, 150]
          by_small f32 [tokens, 3]
          by_own f32 [tokens, 128]
          looked_up f32 [tokens, 128]
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
    fn a_matrix_is_within_half_a_step_of_what_it_was() {
        let mut matrix = rows();
        matrix.row_mut(7).fill(0.0);
        let (integers, scales) = quantized(&matrix.view(), Axis(0));
        assert!(integers.iter().all(|integer| *integer >= -127), "-128 has no opposite");
        assert_eq!(integers.row(7), Array1::<i8>::zeros(WIDTH));
        let stored = stored(&matrix.view());
        for ((stored, matrix), scale) in stored.outer_iter().zip(matrix.outer_iter()).zip(&scales) {
            assert!(stored.iter().zip(matrix).all(|(a, b)| (a - b).abs() <= 0.5001 * scale));
        }
    }

    #[test]
    fn both_runtimes_multiply_as_the_oracle_does_and_each_token_by_itself() {
        let mut x = random(5, WIDTH) * 3.0;
        x.row_mut(2).fill(0.0);
        x.row_mut(3).mapv_inplace(|x| x * 1e4);
        let ids = [0, 149, 3, 3, 77];
        let folder = tempfile::tempdir().unwrap();
        for opset in [Opset::V17, Opset::V18] {
            for kind in [BackendKind::Ort, BackendKind::Tract] {
                let mut graph = opened(opset, kind, folder.path());
                let outputs = run(graph.as_mut(), &x, &ids);

                let wide = x.mapv(f64::from);
                let table = stored(&rows().view());
                let expected = [
                    product(&wide, &columns().t()),
                    product(&wide, &rows().view()),
                    product(&wide, &small().t()),
                    wide.dot(&own().mapv(f64::from)),
                    Array2::from_shape_fn((5, WIDTH), |(row, column)| {
                        table[[ids[row] as usize, column]].into()
                    }),
                ];
                for (output, expected) in outputs.iter().zip(&expected) {
                    for (output, expected) in output.outer_iter().zip(expected.outer_iter()) {
                        let most = expected.fold(1e-20, |most: f64, x| most.max(x.abs()));
                        let differ = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() > 1e-5 * most;
                        assert!(!output.iter().zip(expected).any(differ), "{kind}: {output} {expected}");
                    }
                }
                for token in 0..5 {
                    let alone =
                        run(graph.as_mut(), &x.slice(s![token..=token, ..]).to_owned(), &ids[token..=token]);
                    for (alone, beside) in alone.iter().zip(&outputs).take(2) {
                        assert_eq!(alone.row(0), beside.row(token), "{kind}: token {token}");
                    }
                }
            }
        }
    }
}
