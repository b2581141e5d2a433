//! Element types and dimensions of tensors.

use std::fmt;

/// The element types that HyperLoader reads and writes, with their codes in ONNX (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit float.
    F32,
    /// 8-bit unsigned integer.
    U8,
    /// 8-bit integer.
    I8,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// Boolean, one byte each.
    Bool,
    /// 16-bit float (IEEE 754 binary16).
    F16,
    /// 16-bit float with the 8 exponent bits of a 32-bit float (bfloat16).
    BF16,
}

impl ElementType {
    const ALL: [Self; 8] =
        [Self::F32, Self::U8, Self::I8, Self::I32, Self::I64, Self::Bool, Self::F16, Self::BF16];

    /// The code of the type in ONNX.
    pub fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::BF16 => 16,
        }
    }

    /// The type with the ONNX code `code`; `None` if it is not listed here.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|element_type| element_type.code() == code)
    }

    /// Size of one element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Bool => "bool",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        })
    }
}

/// A dimension: a size, or a name for a size that is known only when the model runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A size that is known.
    Size(usize),
    /// A name; dimensions of the same name have the same size.
    Symbol(String),
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Self::Size(size)
    }
}

impl From<&str> for Dim {
    fn from(name: &str) -> Self {
        Self::Symbol(name.into())
    }
}
