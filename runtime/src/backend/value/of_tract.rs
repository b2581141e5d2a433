//! Elements of a tensor of tract.

use tract_onnx::prelude::{DatumType, TValue};

use super::elements::Elements;
use crate::backend::error::BackendError;

pub(super) fn elements(value: &TValue) -> Result<Elements<'_>, BackendError> {
    let other =
        || BackendError::ElementType { expected: "f32 or i64", found: format!("{:?}", value.datum_type()) };
    let plain = value.try_as_plain_ram().map_err(|_| other())?;
    match value.datum_type() {
        DatumType::F32 => plain.as_slice().map(Elements::F32).map_err(|_| other()),
        DatumType::I64 => plain.as_slice().map(Elements::I64).map_err(|_| other()),
        _ => Err(other()),
    }
}
