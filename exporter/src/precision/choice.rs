//! The precisions that a user chooses from.

use std::fmt;
use std::str::FromStr;

use hyperloader_runtime::BackendKind;
use serde::Serialize;

/// Element type of the large matrices of the backbone in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats: the trained model.
    #[default]
    F32,
    /// 16-bit floats with 11 significant bits, computed with as 32-bit floats: half of the size.
    F16,
    /// 16-bit floats with 8 significant bits and the range of 32-bit floats, computed with as 32-bit floats.
    Bf16,
    /// 8-bit integers with one scale for each output channel, also in products: a quarter of the size, close to the trained
    /// model but not equal to it.
    Int8,
    /// 4-bit integers with one scale for each block of 32, computed with as 32-bit floats: a seventh of the size.
    Int4,
}

impl Precision {
    /// All precisions, the exact one first.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Int4];

    /// The name on the command line, for instance `f32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Whether a file computes in float32 with matrices that are stored in fewer bits. Apart from the rounding of the
    /// matrices, it is the float32 model.
    pub(crate) fn is_expanded(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::Int4)
    }

    /// Why `backend` cannot run files of this precision; `None` if it can.
    pub(crate) fn unsupported_by(self, backend: BackendKind) -> Option<&'static str> {
        match (self, backend) {
            (Self::Bf16, BackendKind::Tract) => Some("it has no bfloat16"),
            _ => None,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of a precision is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`, expected `f32`, `f16`, `bf16`, `int8` or `int4`")]
pub struct UnknownPrecision(String);

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}
