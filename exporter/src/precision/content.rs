//! The content of each initializer of a written file.

use std::rc::Rc;

use hyperloader_onnx::{BuiltModel, Bytes, Weight};
use ndarray::Ix2;

use super::Precision;
use super::compact::{blocks::BlockMatrix, halves};
use super::matrices::StoredMatrices;
use crate::error::ModelError;
use crate::tensor::shaped;
use crate::weights::{Part, Source, TaskGraph};

/// The graph of a file in its precision.
pub(crate) type FileGraph<'a> = BuiltModel<Content<'a>>;

/// Content of an initializer.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// The elements of a weight as float32.
    Floats(Source<'a>),
    /// The elements of a weight as float16 or bfloat16.
    Halves(Source<'a>, Precision),
    /// The 4-bit integers of a weight, two in a byte, `[out, in / 2]`.
    Blocks(Rc<Weight<Source<'a>>>),
    /// The scales of a weight's blocks, float16 `[out, in / 32, 1]`.
    BlockScales(Rc<Weight<Source<'a>>>),
    /// The integers of a quantized weight, int8 in the weight's layout.
    Integers(Rc<Weight<Source<'a>>>),
    /// The scales of a quantized weight's output channels, float32 `[out]`.
    Scales(Rc<Weight<Source<'a>>>),
}

impl Content<'_> {
    /// Whether it is a weight as float32.
    pub(crate) fn is_float32(&self) -> bool {
        matches!(self, Self::Floats(_))
    }

    /// Whether the weight is a matrix that a lower precision stores in fewer bits, or its scales.
    pub(crate) fn is_quantizable(&self) -> bool {
        match self {
            Self::Floats(source) => source.quantizable,
            Self::Halves(..)
            | Self::Blocks(_)
            | Self::BlockScales(_)
            | Self::Integers(_)
            | Self::Scales(_) => true,
        }
    }

    /// Part of the model.
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::Floats(source) | Self::Halves(source, _) => source.part,
            Self::Blocks(weight)
            | Self::BlockScales(weight)
            | Self::Integers(weight)
            | Self::Scales(weight) => weight.source.part,
        }
    }
}

/// The elements of an initializer as little-endian bytes, row-major. Call this for the initializers in file order: the
/// scales of a weight follow its integers, and after them the quantized matrix is freed.
///
/// # Errors
/// Returns an error if the weight's source tensor is missing, misshapen or not finite.
pub(crate) fn elements(
    initializer: &Weight<Content<'_>>,
    stored: &StoredMatrices,
) -> Result<Bytes, ModelError> {
    let matrix = |weight: &Weight<Source<'_>>| {
        let matrix = stored.integers(&weight.name, || weight.source.checked(&weight.name, &weight.dims));
        weight.source.release();
        matrix
    };
    let blocks = |weight: &Weight<Source<'_>>| {
        let tensor = weight.source.checked(&weight.name, &weight.dims)?;
        let matrix = BlockMatrix::new(&weight.name, &shaped::<_, Ix2>(&weight.name, tensor)?.view());
        weight.source.release();
        matrix
    };
    match &initializer.source {
        Content::Floats(source) => source.elements(&initializer.name, &initializer.dims),
        Content::Halves(source, precision) => {
            let tensor = source.checked(&initializer.name, &initializer.dims)?;
            let laid_out = source.layout.apply(tensor.view());
            let bytes = halves::encode(&initializer.name, *precision, laid_out.iter())?;
            source.release();
            Ok(bytes.into())
        }
        Content::Blocks(weight) => Ok(blocks(weight)?.packed().into()),
        Content::BlockScales(weight) => Ok(blocks(weight)?.encoded_scales().into()),
        Content::Integers(weight) => {
            let matrix = matrix(weight)?;
            let integers = weight.source.layout.apply(matrix.integers.view().into_dyn());
            Ok(integers.iter().flat_map(|integer| integer.to_le_bytes()).collect())
        }
        Content::Scales(weight) => {
            let matrix = matrix(weight)?;
            stored.remove(&weight.name);
            Ok(matrix.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect())
        }
    }
}

/// `weight` as an initializer in float32.
pub(crate) fn floats<'a>(weight: Weight<Source<'a>>) -> Weight<Content<'a>> {
    let Weight { name, element_type, dims, source } = weight;
    Weight { name, element_type, dims, source: Content::Floats(source) }
}

/// `graph` as a file in float32.
pub(crate) fn float32(graph: TaskGraph<'_>) -> FileGraph<'_> {
    BuiltModel { model: graph.model, weights: graph.weights.into_iter().map(floats).collect() }
}
