//! The precisions that a user chooses from.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Element type of the large matrices of the backbone in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats: the trained model.
    #[default]
    F32,
    /// 8-bit integers with one scale for each output channel: a quarter of the size, close to the trained model but not
    /// equal to it.
    Int8,
}

impl Precision {
    /// All precisions, the exact one first.
    pub const ALL: [Self; 2] = [Self::F32, Self::Int8];

    /// The name on the command line: `f32` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
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
#[error("unknown precision `{0}`, expected `f32` or `int8`")]
pub struct UnknownPrecision(String);

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|precision| precision.name() == name);
        known.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}
