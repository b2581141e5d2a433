//! The ONNX messages that HyperLoader uses, with the field numbers and wire types of `onnx.proto` (ONNX 1.23).
//!
//! Scalar fields of attributes are optional, as in the proto2 schema, so that a zero is written and read as a zero.
//! Decoding skips the fields that are not listed: sparse initializers, functions, training information.

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
    /// Operator sets that the graph uses. Files of hl-export have one, with the empty domain.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Name of the program that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of that program.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// Reverse DNS name of the model's owner.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// Version of the model itself.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// Free text without meaning to a program.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The computation; a model without one is refused.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Metadata as pairs of strings with distinct keys.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

impl ModelProto {
    /// The metadata by key. [`crate::read_model`] refuses files in which a key occurs twice.
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        self.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect()
    }
}

/// An operator set: a domain, empty for the standard operators, and its version.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct OperatorSetIdProto {
    /// Empty for standard operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Version number, such as 18.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A pair of strings, as metadata and external data use it.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StringStringEntryProto {
    /// Key of the pair.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Value of the pair.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Nodes in topological order, the constant tensors that they read, and the declared inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// Nodes; each comes after the nodes whose outputs it reads.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constant tensors by name.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Free text without meaning to a program.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// Values that the caller supplies.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Values that the caller receives.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of inner values, as far as they are declared.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
}

impl GraphProto {
    /// The declared type of the input, output or inner value `name`.
    pub fn typed_value(&self, name: &str) -> Option<&ValueInfoProto> {
        self.input.iter().chain(&self.output).chain(&self.value_info).find(|value| value.name == name)
    }
}

/// One application of an operator.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Names of the values that it reads; an empty name is an absent optional input.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Names of the values that it computes.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Name of the operator, such as `MatMul`.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Attributes of the operator.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Free text without meaning to a program.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// Domain of the operator, empty for standard operators.
    #[prost(string, tag = "7")]
    pub domain: String,
}

/// A named constant of a node. Exactly the field that `type` names is set.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// Name of the attribute.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A 32-bit float.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// A 64-bit integer.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A string, in UTF-8.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub s: Option<Bytes>,
    /// A constant tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// A graph (`If`, `Loop`, `Scan`).
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// A list of 32-bit floats.
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    /// A list of 64-bit integers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// A list of strings, in UTF-8.
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    /// A list of tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// A list of graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// Free text without meaning to a program.
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// Which field holds the value.
    #[prost(enumeration = "AttributeType", tag = "20")]
    pub r#type: i32,
    /// Inside a function: the attribute of the function that supplies the value.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
}

impl AttributeProto {
    /// An attribute with one integer.
    pub fn int(name: &str, value: i64) -> Self {
        Self { name: name.into(), i: Some(value), r#type: AttributeType::Int.into(), ..Self::default() }
    }

    /// An attribute with one 32-bit float.
    pub fn float(name: &str, value: f32) -> Self {
        Self { name: name.into(), f: Some(value), r#type: AttributeType::Float.into(), ..Self::default() }
    }

    /// An attribute with a list of integers.
    pub fn ints(name: &str, values: &[i64]) -> Self {
        Self {
            name: name.into(),
            ints: values.to_vec(),
            r#type: AttributeType::Ints.into(),
            ..Self::default()
        }
    }
}

/// The kind of an attribute's value: the field that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AttributeType {
    /// Not stated.
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

/// A constant tensor, row-major.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Shape of the tensor; empty for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// Code of the element type, see [`ElementType::code`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Elements of type `float`, if not in `raw_data`. hl-export writes `raw_data`.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements of the integer and boolean types of up to 32 bits, if not in `raw_data`.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements of type `string`.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub string_data: Vec<Bytes>,
    /// Elements of type `int64`, if not in `raw_data`.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name of the tensor.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements as little-endian bytes. They share the buffer that the model was decoded from.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    /// Elements of type `double`, if not in `raw_data`.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements of type `uint32` or `uint64`, if not in `raw_data`.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Free text without meaning to a program.
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// If the elements are in another file: `location`, `offset` and `length`.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// 1 if the elements are in another file, 0 otherwise.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

impl TensorProto {
    /// A tensor of shape `dims` whose elements are `raw_data`: little-endian bytes, row-major.
    pub fn from_raw(name: &str, element_type: ElementType, dims: &[usize], raw_data: Bytes) -> Self {
        Self {
            name: name.into(),
            data_type: element_type.code(),
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            raw_data,
            ..Self::default()
        }
    }

    /// The elements of a tensor of 64-bit integers; none of other types.
    pub fn i64s(&self) -> impl Iterator<Item = i64> + '_ {
        let is_i64 = self.data_type == ElementType::I64.code();
        let raw = self.raw_data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
        raw.chain(self.int64_data.iter().copied()).filter(move |_| is_i64)
    }

    /// Number of elements of the shape; `None` if a dimension is negative or the product overflows.
    pub fn element_count(&self) -> Option<usize> {
        self.dims.iter().try_fold(1_usize, |count, &dim| count.checked_mul(usize::try_from(dim).ok()?))
    }
}

/// Name and type of a value.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// Name of the value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of the value, if declared.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
    /// Free text without meaning to a program.
    #[prost(string, tag = "3")]
    pub doc_string: String,
}

impl ValueInfoProto {
    /// Declares `name` as a tensor of `element_type` and shape `dims`.
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

    /// The sizes of the dimensions (`None` for one that is not a fixed number above 0), if the value is a tensor of known
    /// rank.
    pub fn dimensions(&self) -> Option<Vec<Option<usize>>> {
        let size = |dimension: &Dimension| match dimension.value {
            Some(DimensionValue::DimValue(size)) => usize::try_from(size).ok().filter(|&size| size > 0),
            _ => None,
        };
        Some(self.tensor_type()?.shape.as_ref()?.dim.iter().map(size).collect())
    }

    /// The size of the last dimension, if the value is a tensor and that size is a fixed number above 0.
    pub fn last_dimension(&self) -> Option<usize> {
        self.dimensions()?.pop()?
    }

    /// The tensor type; `None` for sequences, maps and values without a type.
    pub fn tensor_type(&self) -> Option<&TensorTypeProto> {
        let TypeValue::TensorType(tensor) = self.r#type.as_ref()?.value.as_ref()?;
        Some(tensor)
    }
}

/// Type of a value.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// The kind of value, with its details.
    #[prost(oneof = "TypeValue", tags = "1")]
    pub value: Option<TypeValue>,
    /// Free text on the meaning of the value.
    #[prost(string, tag = "6")]
    pub denotation: String,
}

/// The kinds of values that HyperLoader reads and writes.
#[derive(Clone, PartialEq, Oneof)]
pub enum TypeValue {
    /// A tensor with its element type and shape.
    #[prost(message, tag = "1")]
    TensorType(TensorTypeProto),
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    /// Code of the element type, see [`ElementType::code`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// The shape; absent if the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// Shape of a tensor value.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// The dimensions, outermost first.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension of a shape.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// The size or its name; absent if unknown.
    #[prost(oneof = "DimensionValue", tags = "1, 2")]
    pub value: Option<DimensionValue>,
    /// Free text on the meaning of the dimension.
    #[prost(string, tag = "3")]
    pub denotation: String,
}

/// Size or name of a dimension.
#[derive(Clone, PartialEq, Oneof)]
pub enum DimensionValue {
    /// A size that is known.
    #[prost(int64, tag = "1")]
    DimValue(i64),
    /// A name; dimensions of the same name have the same size.
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
