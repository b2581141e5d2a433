//! A typed graph builder: values are handles, operators are methods, names follow the scopes they are made in.
//!
//! ```
//! use hyperloader_onnx::{ElementType, GraphBuilder, Opset};
//!
//! let mut graph = GraphBuilder::new("linear", Opset::default());
//! let x = graph.input("x", ElementType::F32, &["batch".into(), 3_usize.into()]);
//! let y = graph.scoped("layer", |graph| {
//!     let weight = graph.weight("layer.weight", ElementType::F32, &[3, 2]);
//!     let product = graph.matmul(x, weight);
//!     graph.relu(product)
//! });
//! graph.output(y, "y", ElementType::F32, &["batch".into(), 2_usize.into()]);
//! let built = graph.finish()?;
//! assert_eq!(built.model.graph.unwrap().node[0].name, "/layer/MatMul");
//! # Ok::<(), hyperloader_onnx::BuildError>(())
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::bytes::Bytes;

use crate::element::{Dim, ElementType};
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, ValueInfoProto,
};

/// `ir_version` of our files: ONNX 1.13's, which every reader of opset 17 or 18 takes.
const IR_VERSION: i64 = 8;

/// A graph could not be finished: a mistake in the program that built it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// One name was given to two values.
    #[error("two values of graph `{graph}` are named `{name}`")]
    DuplicateName {
        /// The graph.
        graph: String,
        /// The name.
        name: String,
    },
    /// A value that already has a name of its own was named again.
    #[error("value `{name}` cannot be named again, as `{again}`")]
    Renamed {
        /// The name it has.
        name: String,
        /// The second name.
        again: String,
    },
    /// A weight was declared twice, with different types or shapes.
    #[error("weight `{name}` was declared as {first} and as {second}")]
    Redeclared {
        /// The weight.
        name: String,
        /// Type and shape of the first declaration.
        first: String,
        /// Type and shape of the second.
        second: String,
    },
    /// A value was computed, or a weight declared, that nothing reads.
    #[error("nothing reads value `{name}`")]
    Unread {
        /// The value.
        name: String,
    },
}

/// The operator set that a graph is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opset {
    /// ONNX 1.12.
    V17,
    /// ONNX 1.13.
    #[default]
    V18,
}

impl Opset {
    /// Its number.
    pub fn version(self) -> i64 {
        match self {
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }
}

/// A handle on a tensor of the graph being built; valid only for the builder that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value(usize);

/// A large initializer: declared by name, type and shape, its elements supplied when the model is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The initializer's name.
    pub name: String,
    /// The element type.
    pub element_type: ElementType,
    /// The shape.
    pub dims: Vec<usize>,
}

impl Weight {
    /// How many elements it has.
    pub fn element_count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Bytes of all elements.
    pub fn byte_count(&self) -> usize {
        self.element_count() * self.element_type.size()
    }

    fn describe(&self) -> String {
        format!("{} {:?}", self.element_type, self.dims)
    }
}

/// A finished model: the messages with the small constants inside, and the weights still to be supplied.
#[derive(Debug, Clone)]
pub struct BuiltModel {
    /// The model without the elements of `weights`.
    pub model: ModelProto,
    /// The initializers that [`crate::write_model`] adds, in file order.
    pub weights: Vec<Weight>,
}

impl BuiltModel {
    /// Names the program that writes the file.
    #[must_use]
    pub fn with_producer(mut self, name: &str, version: &str) -> Self {
        self.model.producer_name = name.into();
        self.model.producer_version = version.into();
        self
    }

    /// Sets the model's metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: BTreeMap<String, String>) -> Self {
        self.model.metadata_props =
            metadata.into_iter().map(|(key, value)| StringStringEntryProto { key, value }).collect();
        self
    }

    /// Inputs, outputs, operators and initializers as text, see [`crate::summary`].
    pub fn summary(&self) -> String {
        crate::summary::summary(&self.model, &self.weights)
    }
}

#[derive(Debug)]
struct PendingNode {
    name: String,
    op_type: &'static str,
    inputs: Vec<Value>,
    output: Value,
    attributes: Vec<AttributeProto>,
}

#[derive(Debug)]
struct PendingValue {
    name: String,
    /// Whether the name was chosen by the caller rather than made from the node's.
    named: bool,
}

/// Builds a graph operator by operator; each method adds a node and gives its output.
///
/// Nodes are in topological order because a value exists only once its node does. Mistakes are kept and reported by
/// [`GraphBuilder::finish`], so that building reads as arithmetic.
#[derive(Debug)]
pub struct GraphBuilder {
    name: String,
    opset: Opset,
    scope: Vec<String>,
    node_names: HashMap<String, usize>,
    values: Vec<PendingValue>,
    nodes: Vec<PendingNode>,
    constants: Vec<TensorProto>,
    constant_values: HashMap<String, Value>,
    weights: Vec<Weight>,
    weight_values: HashMap<String, (usize, Value)>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    inner: Vec<ValueInfoProto>,
    error: Option<BuildError>,
}

impl GraphBuilder {
    /// An empty graph named `name`.
    pub fn new(name: &str, opset: Opset) -> Self {
        Self {
            name: name.into(),
            opset,
            scope: Vec::new(),
            node_names: HashMap::new(),
            values: Vec::new(),
            nodes: Vec::new(),
            constants: Vec::new(),
            constant_values: HashMap::new(),
            weights: Vec::new(),
            weight_values: HashMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            inner: Vec::new(),
            error: None,
        }
    }

    /// Runs `build` with `name` added to the names of the nodes that it makes: `/encoder/block.0/MatMul`.
    pub fn scoped<R>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> R) -> R {
        self.scope.push(name.into());
        let result = build(self);
        self.scope.pop();
        result
    }

    /// Declares an input of the graph.
    pub fn input(&mut self, name: &str, element_type: ElementType, dims: &[Dim]) -> Value {
        self.inputs.push(ValueInfoProto::tensor(name, element_type, dims));
        self.new_value(name.into(), true)
    }

    /// Makes `value` an output of the graph, under `name`.
    pub fn output(&mut self, value: Value, name: &str, element_type: ElementType, dims: &[Dim]) {
        self.rename(value, name);
        self.outputs.push(ValueInfoProto::tensor(name, element_type, dims));
    }

    /// Names an inner value and records its type, so that [`crate::extract()`] can cut the graph there.
    pub fn name_value(&mut self, value: Value, name: &str, element_type: ElementType, dims: &[Dim]) {
        self.rename(value, name);
        self.inner.push(ValueInfoProto::tensor(name, element_type, dims));
    }

    /// Declares a large initializer; its elements are supplied when the model is written.
    /// A second declaration of one name with the same type and shape gives the same value.
    pub fn weight(&mut self, name: &str, element_type: ElementType, dims: &[usize]) -> Value {
        let weight = Weight { name: name.into(), element_type, dims: dims.to_vec() };
        if let Some(&(index, value)) = self.weight_values.get(name) {
            let first = &self.weights[index];
            if *first != weight {
                let (first, second) = (first.describe(), weight.describe());
                self.fail(BuildError::Redeclared { name: name.into(), first, second });
            }
            return value;
        }
        let value = self.new_value(name.into(), true);
        self.weight_values.insert(name.into(), (self.weights.len(), value));
        self.weights.push(weight);
        value
    }

    /// A scalar constant; equal constants are stored once.
    pub fn f32(&mut self, number: f32) -> Value {
        self.constant(format!("const/f32/{number:?}"), ElementType::F32, &[], number.to_le_bytes().to_vec())
    }

    /// A scalar constant; equal constants are stored once.
    pub fn i64(&mut self, number: i64) -> Value {
        self.constant(format!("const/i64/{number}"), ElementType::I64, &[], number.to_le_bytes().to_vec())
    }

    /// A constant of shape `[numbers.len()]`; equal constants are stored once.
    pub fn i64s(&mut self, numbers: &[i64]) -> Value {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let list: Vec<String> = numbers.iter().map(i64::to_string).collect();
        self.constant(format!("const/i64/[{}]", list.join(",")), ElementType::I64, &[numbers.len()], bytes)
    }

    /// `Gather`: the slices of `data` along `axis` at `indices`.
    pub fn gather(&mut self, data: Value, indices: Value, axis: i64) -> Value {
        self.op("Gather", &[data, indices], vec![AttributeProto::int("axis", axis)])
    }

    /// `MatMul`: the product of the last two dimensions, broadcast over the others.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        self.op("MatMul", &[a, b], vec![])
    }

    /// `Gemm` with `b` transposed: `[rows, columns]` of `a` `[rows, width]` and `b` `[columns, width]`.
    pub fn matmul_transposed(&mut self, a: Value, b: Value) -> Value {
        self.op("Gemm", &[a, b], vec![AttributeProto::int("transB", 1)])
    }

    /// `Add`, broadcast.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.op("Add", &[a, b], vec![])
    }

    /// `Sub`, broadcast.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.op("Sub", &[a, b], vec![])
    }

    /// `Mul`, broadcast.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.op("Mul", &[a, b], vec![])
    }

    /// `Div`, broadcast.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.op("Div", &[a, b], vec![])
    }

    /// `Pow`, broadcast.
    pub fn pow(&mut self, base: Value, exponent: Value) -> Value {
        self.op("Pow", &[base, exponent], vec![])
    }

    /// `Min` of two, broadcast.
    pub fn min(&mut self, a: Value, b: Value) -> Value {
        self.op("Min", &[a, b], vec![])
    }

    /// `Max` of two, broadcast.
    pub fn max(&mut self, a: Value, b: Value) -> Value {
        self.op("Max", &[a, b], vec![])
    }

    /// `LessOrEqual`, broadcast; gives booleans.
    pub fn less_or_equal(&mut self, a: Value, b: Value) -> Value {
        self.op("LessOrEqual", &[a, b], vec![])
    }

    /// `Where`: `a` where `condition` holds, else `b`, broadcast.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.op("Where", &[condition, a, b], vec![])
    }

    /// `Sqrt`.
    pub fn sqrt(&mut self, x: Value) -> Value {
        self.op("Sqrt", &[x], vec![])
    }

    /// `Exp`.
    pub fn exp(&mut self, x: Value) -> Value {
        self.op("Exp", &[x], vec![])
    }

    /// `Relu`.
    pub fn relu(&mut self, x: Value) -> Value {
        self.op("Relu", &[x], vec![])
    }

    /// `Tanh`.
    pub fn tanh(&mut self, x: Value) -> Value {
        self.op("Tanh", &[x], vec![])
    }

    /// `Erf`: the error function.
    pub fn erf(&mut self, x: Value) -> Value {
        self.op("Erf", &[x], vec![])
    }

    /// `Sigmoid`.
    pub fn sigmoid(&mut self, x: Value) -> Value {
        self.op("Sigmoid", &[x], vec![])
    }

    /// `Softmax` along `axis`.
    pub fn softmax(&mut self, x: Value, axis: i64) -> Value {
        self.op("Softmax", &[x], vec![AttributeProto::int("axis", axis)])
    }

    /// `LayerNormalization` over the last axis with scale `gamma` and offset `beta` (`[width]`): mean subtracted,
    /// biased variance.
    pub fn layer_normalization(&mut self, x: Value, gamma: Value, beta: Value, epsilon: f32) -> Value {
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", epsilon)];
        self.op("LayerNormalization", &[x, gamma, beta], attributes)
    }

    /// `ReduceMean` over `axes`, which stay as dimensions of size 1.
    pub fn reduce_mean(&mut self, x: Value, axes: &[i64]) -> Value {
        let keep = AttributeProto::int("keepdims", 1);
        match self.opset {
            Opset::V17 => self.op("ReduceMean", &[x], vec![AttributeProto::ints("axes", axes), keep]),
            Opset::V18 => {
                let axes = self.i64s(axes);
                self.op("ReduceMean", &[x, axes], vec![keep])
            }
        }
    }

    /// `ArgMax` along `axis`, which is dropped; the first of equal maxima; gives `i64`.
    pub fn argmax(&mut self, x: Value, axis: i64) -> Value {
        self.op("ArgMax", &[x], vec![AttributeProto::int("axis", axis), AttributeProto::int("keepdims", 0)])
    }

    /// `Reshape`; in `dims`, 0 keeps the input's dimension at that place and one -1 takes what is left.
    pub fn reshape(&mut self, x: Value, dims: &[i64]) -> Value {
        let dims = self.i64s(dims);
        self.reshape_to(x, dims)
    }

    /// `Reshape` to the sizes that `dims` `[rank]` holds.
    pub fn reshape_to(&mut self, x: Value, dims: Value) -> Value {
        self.op("Reshape", &[x, dims], vec![])
    }

    /// `Transpose`: dimension `i` of the output is dimension `permutation[i]` of the input.
    pub fn transpose(&mut self, x: Value, permutation: &[i64]) -> Value {
        self.op("Transpose", &[x], vec![AttributeProto::ints("perm", permutation)])
    }

    /// `Unsqueeze`: adds dimensions of size 1 at `axes` of the output.
    pub fn unsqueeze(&mut self, x: Value, axes: &[i64]) -> Value {
        let axes = self.i64s(axes);
        self.op("Unsqueeze", &[x, axes], vec![])
    }

    /// `Squeeze`: drops the dimensions `axes`, each of size 1.
    pub fn squeeze(&mut self, x: Value, axes: &[i64]) -> Value {
        let axes = self.i64s(axes);
        self.op("Squeeze", &[x, axes], vec![])
    }

    /// `Slice` along `axis` from `start` to `end`, exclusive; negative numbers count from the end.
    pub fn slice(&mut self, x: Value, axis: i64, start: i64, end: i64) -> Value {
        let (start, end, axis) = (self.i64s(&[start]), self.i64s(&[end]), self.i64s(&[axis]));
        self.op("Slice", &[x, start, end, axis], vec![])
    }

    /// `Shape`: the sizes of the dimensions from `start` to `end`, exclusive, as `[end - start]` of `i64`.
    pub fn shape(&mut self, x: Value, start: i64, end: i64) -> Value {
        self.op("Shape", &[x], vec![AttributeProto::int("start", start), AttributeProto::int("end", end)])
    }

    /// `Concat` of `parts` along `axis`.
    pub fn concat(&mut self, parts: &[Value], axis: i64) -> Value {
        self.op("Concat", parts, vec![AttributeProto::int("axis", axis)])
    }

    /// `Range` of scalars: `start`, `start + step`, ... below `limit`.
    pub fn range(&mut self, start: Value, limit: Value, step: Value) -> Value {
        self.op("Range", &[start, limit, step], vec![])
    }

    /// `Cast` to `element_type`.
    pub fn cast(&mut self, x: Value, element_type: ElementType) -> Value {
        self.op("Cast", &[x], vec![AttributeProto::int("to", element_type.code().into())])
    }

    /// `Identity`.
    pub fn identity(&mut self, x: Value) -> Value {
        self.op("Identity", &[x], vec![])
    }

    /// The finished model, with weights still to be supplied.
    ///
    /// # Errors
    /// The first mistake made while building, two values of one name, or a value that nothing reads.
    pub fn finish(self) -> Result<BuiltModel, BuildError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.check_names()?;
        self.check_all_read()?;
        let name_of = |value: &Value| self.values[value.0].name.clone();
        let node = |node: &PendingNode| NodeProto {
            input: node.inputs.iter().map(name_of).collect(),
            output: vec![name_of(&node.output)],
            name: node.name.clone(),
            op_type: node.op_type.into(),
            attribute: node.attributes.clone(),
            ..NodeProto::default()
        };
        let graph = GraphProto {
            node: self.nodes.iter().map(node).collect(),
            name: self.name,
            initializer: self.constants,
            input: self.inputs,
            output: self.outputs,
            value_info: self.inner,
            ..GraphProto::default()
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: self.opset.version() }],
            graph: Some(graph),
            ..ModelProto::default()
        };
        Ok(BuiltModel { model, weights: self.weights })
    }

    fn check_names(&self) -> Result<(), BuildError> {
        let mut seen = HashSet::new();
        match self.values.iter().find(|value| !seen.insert(value.name.as_str())) {
            Some(value) => {
                Err(BuildError::DuplicateName { graph: self.name.clone(), name: value.name.clone() })
            }
            None => Ok(()),
        }
    }

    fn check_all_read(&self) -> Result<(), BuildError> {
        let read: HashSet<Value> = self.nodes.iter().flat_map(|node| node.inputs.iter().copied()).collect();
        let ends = self.inputs.iter().chain(&self.outputs).chain(&self.inner);
        let ends: HashSet<&str> = ends.map(|value| value.name.as_str()).collect();
        let unread = |(index, value): &(usize, &PendingValue)| {
            !read.contains(&Value(*index)) && !ends.contains(value.name.as_str())
        };
        match self.values.iter().enumerate().find(unread) {
            Some((_, value)) => Err(BuildError::Unread { name: value.name.clone() }),
            None => Ok(()),
        }
    }

    fn op(&mut self, op_type: &'static str, inputs: &[Value], attributes: Vec<AttributeProto>) -> Value {
        let scope: String = self.scope.iter().map(|name| format!("/{name}")).collect();
        let mut name = format!("{scope}/{op_type}");
        let uses = self.node_names.entry(name.clone()).or_default();
        *uses += 1;
        if *uses > 1 {
            name = format!("{name}_{}", *uses - 1);
        }
        let output = self.new_value(format!("{name}_output_0"), false);
        self.nodes.push(PendingNode { name, op_type, inputs: inputs.to_vec(), output, attributes });
        output
    }

    fn constant(&mut self, name: String, element_type: ElementType, dims: &[usize], bytes: Vec<u8>) -> Value {
        if let Some(&value) = self.constant_values.get(&name) {
            return value;
        }
        self.constants.push(TensorProto::from_raw(&name, element_type, dims, Bytes::from(bytes)));
        let value = self.new_value(name.clone(), true);
        self.constant_values.insert(name, value);
        value
    }

    fn new_value(&mut self, name: String, named: bool) -> Value {
        self.values.push(PendingValue { name, named });
        Value(self.values.len() - 1)
    }

    fn rename(&mut self, value: Value, name: &str) {
        let pending = &mut self.values[value.0];
        if pending.named {
            let error = BuildError::Renamed { name: pending.name.clone(), again: name.into() };
            self.fail(error);
            return;
        }
        *pending = PendingValue { name: name.into(), named: true };
    }

    fn fail(&mut self, error: BuildError) {
        self.error.get_or_insert(error);
    }
}
