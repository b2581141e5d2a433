//! The ONNX messages that we use, field by field as in `onnx.proto` (ONNX 1.23): same numbers, same wire types.
//!
//! Scalar fields of attributes are optional, as in the proto2 schema, so that a zero is written and read as a zero.
//! Fields that are not listed (sparse initializers, functions, training information) are skipped when decoding.

use std::collections::BTreeMap;

use prost::bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

use crate::element::{Dim, ElementType};

/// A whole model file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// Version of the file format: 8 is ONNX 1.13, the first with opset 18.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Operator sets that the graph is written in; one, with the empty domain, in our files.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Program that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Its version.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// Reverse DNS name of the model's owner.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// Version of the model itself.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// Text for people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The graph.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Named strings; keys are distinct.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl ModelProto {
    /// The metadata by key; the last entry wins where a key occurs twice ([`crate::read_model`] refuses such files).
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        self.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect()
    }
}

/// An operator set: a domain (empty for ONNX's own) and its version.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OperatorSetIdProto {
    /// Empty for ONNX's own operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key with its value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Nodes in topological order, the tensors that they read, and what goes in and out.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// Operations; each comes after those whose outputs it reads.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constant tensors by name.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Text for people.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// What the caller supplies.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// What the caller gets.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of inner values, where known.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
}

impl GraphProto {
    /// The declared type of the input, output or inner value `name`.
    pub fn typed_value(&self, name: &str) -> Option<&ValueInfoProto> {
        self.input.iter().chain(&self.output).chain(&self.value_info).find(|value| value.name == name)
    }
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Names of the values that it reads; an empty name is an absent optional input.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values that it makes.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// The node's name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// The operator's attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Text for people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The operator's domain, empty for ONNX's own.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A named constant of a node; exactly the field that `type` names is set.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// The attribute's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// An integer.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A string, in UTF-8.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    /// A tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// A graph (`If`, `Loop`, `Scan`).
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// Numbers.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// Integers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Strings, in UTF-8.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    /// Tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// Graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// Text for people.
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// Which field holds the value.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
    /// Inside a function: the function's attribute that this one stands for.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
}

impl AttributeProto {
    /// An attribute that holds one integer.
    pub fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), r#type: AttributeType::Int.into(), ..Self::default() }
    }

    /// An attribute that holds one number.
    pub fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), r#type: AttributeType::Float.into(), ..Self::default() }
    }

    /// An attribute that holds a list of integers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        Self {
            name: name.into(),
            ints: values.to_vec(),
            r#type: AttributeType::Ints.into(),
            ..Self::default()
        }
    }
}

/// What kind of value an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// Nothing is said.
    Undefined = 0,
    /// `f`.
    Float = 1,
    /// `i`.
    Int = 2,
    /// `s`.
    String = 3,
    /// `t`.
    Tensor = 4,
    /// `g`.
    Graph = 5,
    /// `floats`.
    Floats = 6,
    /// `ints`.
    Ints = 7,
    /// `strings`.
    Strings = 8,
    /// `tensors`.
    Tensors = 9,
    /// `graphs`.
    Graphs = 10,
}

/// A constant tensor, row major.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// The shape; empty for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// The element type's code, see [`ElementType::code`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Elements as numbers (our files use `raw_data`).
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements of the types up to 32 bits as numbers.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements that are strings.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_data: Vec<Bytes>,
    /// Elements of type `int64` as numbers.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// The tensor's name.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements as little-endian bytes; shares the buffer that the model was decoded from.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// Elements of type `double` as numbers.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements of the types `uint32` and `uint64` as numbers.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Text for people.
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// Where the elements lie if in another file: `location`, `offset`, `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// 1 if the elements lie in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

impl TensorProto {
    /// The tensor `name` of shape `dims`; `raw_data` holds its elements as little-endian bytes, row major.
    pub fn from_raw(name: &str, element_type: ElementType, dims: &[usize], raw_data: Bytes) -> Self {
        Self {
            name: name.into(),
            data_type: element_type.code(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            raw_data,
            ..Self::default()
        }
    }

    /// How many elements the shape asks for; `None` if a dimension is negative or the product overflows.
    pub fn element_count(&self) -> Option<usize> {
        self.dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(usize::try_from(dim).ok()?))
    }
}

/// A value's name and type.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// The value's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// Text for people.
    #[prost(string, tag = "3")]
    pub doc_string: String,
}

impl ValueInfoProto {
    /// The tensor `name` with elements of `element_type` and shape `dims`.
    pub fn tensor(name: &str, element_type: ElementType, dims: &[Dim]) -> Self {
        let shape = TensorShapeProto {
            dim: dims
                .iter()
                .map(|dim| Dimension { value: Some(dim.clone().into()), ..Dimension::default() })
                .collect(),
        };
        let tensor = TensorTypeProto { elem_type: element_type.code(), shape: Some(shape) };
        Self {
            name: name.into(),
            r#type: Some(TypeProto { value: Some(TypeValue::TensorType(tensor)), ..TypeProto::default() }),
            ..Self::default()
        }
    }

    /// The dimensions, if the value is a tensor of a known rank: those that are a fixed number above 0.
    pub fn dimensions(&self) -> Option<Vec<Option<usize>>> {
        let size = |dimension: &Dimension| match dimension.value {
            Some(DimensionValue::DimValue(size)) => usize::try_from(size).ok().filter(|&size| size > 0),
            _ => None,
        };
        Some(self.tensor_type()?.shape.as_ref()?.dim.iter().map(size).collect())
    }

    /// The last dimension, if the value is a tensor and that dimension is a fixed number above 0.
    pub fn last_dimension(&self) -> Option<usize> {
        self.dimensions()?.pop()?
    }

    /// The type as a tensor's; `None` for sequences, maps and untyped values.
    pub fn tensor_type(&self) -> Option<&TensorTypeProto> {
        let TypeValue::TensorType(tensor) = self.r#type.as_ref()?.value.as_ref()?;
        Some(tensor)
    }
}

/// The type of a value.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// The type proper.
    #[prost(oneof = "TypeValue", tags = "1")]
    pub value: Option<TypeValue>,
    /// What the value means, for people.
    #[prost(string, tag = "6")]
    pub denotation: String,
}

/// The types that we use: tensors.
#[derive(Clone, PartialEq, Oneof)]
pub enum TypeValue {
    /// A tensor.
    #[prost(message, tag = "1")]
    TensorType(TensorTypeProto),
}

/// A tensor's element type and shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    /// The element type's code, see [`ElementType::code`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// The shape; absent if even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// A shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// The dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension of a shape.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// The size or its name; absent if unknown.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
    /// What the dimension means, for people.
    #[prost(string, tag = "3")]
    pub denotation: String,
}

/// A dimension's size or name.
#[derive(Clone, PartialEq, Oneof)]
pub enum DimensionValue {
    /// A fixed size.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A name: dimensions of one name have one size.
    #[prost(string, tag = "2")]
    DimParam(String),
}

impl From<Dim> for DimensionValue {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Size(size) => DimensionValue::DimValue(size as i64),
            Dim::Symbol(name) => DimensionValue::DimParam(name),
        }
    }
}
