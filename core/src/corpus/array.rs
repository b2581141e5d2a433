//! Where a reader of JSON values is: in an array, or among values that stand one after the other.

use super::error::Fault;

/// The place between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among values one after the other, which commas may separate.
    Loose,
    /// Before the bracket that begins an array.
    Before,
    /// After that bracket.
    First,
    /// After a value of the array.
    AfterValue,
    /// After a comma of the array.
    AfterComma,
    /// After the bracket that ends the array.
    After,
}

impl Place {
    /// Moves over a byte between values. True if the byte begins a value.
    ///
    /// # Errors
    /// If it cannot stand here.
    pub(super) fn step(&mut self, byte: u8) -> Result<bool, Fault> {
        if byte.is_ascii_whitespace() {
            return Ok(false);
        }
        let next = match (*self, byte) {
            (Self::Loose, b',') => Self::Loose,
            (Self::Before | Self::After, b'[') => Self::First,
            (Self::First | Self::AfterValue, b']') => Self::After,
            (Self::AfterValue, b',') => Self::AfterComma,
            (Self::Loose, _) => return Ok(true),
            (Self::First | Self::AfterComma, _) if byte != b',' && byte != b']' => {
                *self = Self::AfterValue;
                return Ok(true);
            }
            (Self::AfterValue, _) => return Err(fault("expected `,` or `]` after a value of the array")),
            (Self::First | Self::AfterComma, _) => return Err(fault("expected a value of the array")),
            (Self::Before | Self::After, _) => return Err(fault("expected an array")),
        };
        *self = next;
        Ok(false)
    }

    /// Ends the input here.
    ///
    /// # Errors
    /// If the array has not ended.
    pub(super) fn end(self) -> Result<(), Fault> {
        match self {
            Self::Loose | Self::Before | Self::After => Ok(()),
            Self::First | Self::AfterValue | Self::AfterComma => {
                Err(fault("the array does not end with `]`: the file may have been cut off"))
            }
        }
    }
}

fn fault(reason: &str) -> Fault {
    Fault::Json { layout: "jsonl", reason: reason.to_owned() }
}
