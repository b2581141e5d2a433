//! A typed graph builder: values are handles, operators are methods, and nodes are named after the scope they are built
//! in. The operators are in `operators.rs`.
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

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use crate::built::{BuiltModel, Weight};
use crate::element::{Dim, ElementType};
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};

/// `ir_version` of the written files: that of ONNX 1.13, which every reader of opset 17 or 18 accepts.
const IR_VERSION: i64 = 8;

/// A graph could not be finished. The cause is a mistake in the program that built it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// One name was given to two values.
    #[error("two values of graph `{graph}` are named `{name}`")]
    DuplicateName {
        /// Name of the graph.
        graph: String,
        /// The name that occurs twice.
        name: String,
    },
    /// A value that already has a given name was named again.
    #[error("value `{name}` cannot be named again, as `{again}`")]
    Renamed {
        /// The name that the value already has.
        name: String,
        /// The second name.
        again: String,
    },
    /// A weight was declared twice, with different types or shapes.
    #[error("weight `{name}` was declared as {first} and as {second}")]
    Redeclared {
        /// Name of the weight.
        name: String,
        /// Type and shape of the first declaration.
        first: String,
        /// Type and shape of the second.
        second: String,
    },
    /// A value was computed, or a weight declared, that nothing reads.
    #[error("nothing reads value `{name}`")]
    Unread {
        /// Name of the value.
        name: String,
    },
}

/// The operator set that a graph is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opset {
    /// Opset 17, of ONNX 1.12.
    V17,
    /// Opset 18, of ONNX 1.13.
    #[default]
    V18,
}

impl Opset {
    /// The version number that `opset_import` states.
    pub fn version(self) -> i64 {
        match self {
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }
}

/// A handle on a tensor of the graph under construction. It is valid only for the builder that returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value(usize);

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
    /// Whether the caller chose the name; otherwise it is derived from the node's name.
    named: bool,
}

/// Builds a graph operator by operator. Each operator method adds a node and returns the node's output.
///
/// Nodes are in topological order, because a value exists only after its node. Building methods do not return errors:
/// [`GraphBuilder::finish`] reports the first mistake.
#[derive(Debug)]
pub struct GraphBuilder<S = ()> {
    name: String,
    pub(crate) opset: Opset,
    scope: Vec<String>,
    node_names: HashMap<String, usize>,
    values: Vec<PendingValue>,
    nodes: Vec<PendingNode>,
    constants: Vec<TensorProto>,
    constant_values: HashMap<String, Value>,
    weights: Vec<Weight<S>>,
    weight_values: HashMap<String, (usize, Value)>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    inner: Vec<ValueInfoProto>,
    error: Option<BuildError>,
}

impl GraphBuilder {
    /// An empty graph named `name`, whose weights have no source.
    pub fn new(name: &str, opset: Opset) -> Self {
        Self::with_sources(name, opset)
    }

    /// Declares a large initializer. Its elements are supplied when the model is written.
    /// A second declaration of the same name, type and shape returns the same value.
    pub fn weight(&mut self, name: &str, element_type: ElementType, dims: &[usize]) -> Value {
        self.weight_from(name, element_type, dims, ())
    }
}

impl<S> GraphBuilder<S> {
    /// An empty graph named `name`, whose weights are declared with a source (see [`GraphBuilder::weight_from`]).
    pub fn with_sources(name: &str, opset: Opset) -> Self {
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

    /// Runs `build` inside the scope `name`. Nodes are named after their scopes: `/encoder/block.0/MatMul`.
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

    /// Makes `value` an output of the graph named `name`.
    pub fn output(&mut self, value: Value, name: &str, element_type: ElementType, dims: &[Dim]) {
        self.rename(value, name);
        self.outputs.push(ValueInfoProto::tensor(name, element_type, dims));
    }

    /// Names an inner value and records its type, so that [`crate::extract()`] can cut the graph there.
    pub fn name_value(&mut self, value: Value, name: &str, element_type: ElementType, dims: &[Dim]) {
        self.rename(value, name);
        self.declare_value(value, element_type, dims);
    }

    /// Records the type of an inner value, which keeps its name, so that [`crate::pieces()`] can cut the graph there.
    pub fn declare_value(&mut self, value: Value, element_type: ElementType, dims: &[Dim]) {
        let declared = &mut self.values[value.0];
        declared.named = true;
        self.inner.push(ValueInfoProto::tensor(&declared.name, element_type, dims));
    }

    /// Declares a large initializer whose elements come from `source`.
    /// A second declaration of the same name, type and shape returns the same value; the first source is kept.
    pub fn weight_from(&mut self, name: &str, element_type: ElementType, dims: &[usize], source: S) -> Value {
        let weight = Weight { name: name.into(), element_type, dims: dims.to_vec(), source };
        if let Some(&(index, value)) = self.weight_values.get(name) {
            let first = &self.weights[index];
            if (first.element_type, &first.dims) != (weight.element_type, &weight.dims) {
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

    /// A scalar f32 constant. Equal constants are stored once.
    pub fn f32(&mut self, number: f32) -> Value {
        self.constant(format!("const/f32/{number:?}"), ElementType::F32, &[], number.to_le_bytes().to_vec())
    }

    /// A scalar i64 constant. Equal constants are stored once.
    pub fn i64(&mut self, number: i64) -> Value {
        self.constant(format!("const/i64/{number}"), ElementType::I64, &[], number.to_le_bytes().to_vec())
    }

    /// An i64 constant of shape `[numbers.len()]`. Equal constants are stored once.
    pub fn i64s(&mut self, numbers: &[i64]) -> Value {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let list: Vec<String> = numbers.iter().map(i64::to_string).collect();
        self.constant(format!("const/i64/[{}]", list.join(",")), ElementType::I64, &[numbers.len()], bytes)
    }

    /// Finishes the graph. The elements of the weights are still to be supplied.
    ///
    /// # Errors
    /// Returns the first mistake made while building, a name that two values have, or a value that nothing reads.
    pub fn finish(self) -> Result<BuiltModel<S>, BuildError> {
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

    /// Adds a node in the current scope and returns its output.
    pub(crate) fn op(
        &mut self,
        op_type: &'static str,
        inputs: &[Value],
        attributes: Vec<AttributeProto>,
    ) -> Value {
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
