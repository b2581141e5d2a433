//! Quantized matrices: made once for each matrix, and multiplied as a file does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use crate::error::ModelError;
use crate::tensor::shaped;

/// Matrices with fewer rows or columns stay in float32.
const SMALLEST: usize = 128;
/// The largest magnitude of an integer. -128 is not used, because it has no opposite.
pub(super) const LIMIT: f32 = 127.0;
/// Replaces the largest magnitude of tokens that are all zero.
pub(super) const LEAST: f32 = 1e-30;
/// Number of rows that are widened to float64 together.
const ROWS: usize = 4096;

/// Whether a matrix of this shape is stored as int8.
pub(crate) fn is_large(shape: &[usize]) -> bool {
    matches!(shape, [rows, columns] if *rows.min(columns) >= SMALLEST)
}

/// A matrix as integers. Rows are output channels: `[out, in]` of a linear map, `[vocab, d_model]` of an embedding.
#[derive(Debug)]
pub(crate) struct QuantizedMatrix {
    /// `[out, in]`, from -127 to 127.
    pub(crate) integers: Array2<i8>,
    /// `[out]`: the factor of each row.
    pub(crate) scales: Array1<f32>,
}

impl QuantizedMatrix {
    /// Quantizes `values` `[out, in]`.
    pub(crate) fn new(values: &ArrayView2<'_, f32>) -> Self {
        let scale = |row: ArrayView1<'_, f32>| match row.fold(0.0, |most: f32, x| most.max(x.abs())) {
            0.0 => 1.0,
            most => most / LIMIT,
        };
        let scales: Array1<f32> = values.outer_iter().map(scale).collect();
        let mut integers = Array2::zeros(values.dim());
        let rows = values.outer_iter().zip(integers.outer_iter_mut());
        for ((values, mut integers), scale) in rows.zip(&scales) {
            integers.zip_mut_with(&values, |integer, x| *integer = (x / scale).round_ties_even() as i8);
        }
        Self { integers, scales }
    }

    /// Rows `range` as the float32 numbers that a file computes from them.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> Array2<f32> {
        let scales = self.scales.slice(s![range.clone()]).insert_axis(Axis(1));
        self.integers.slice(s![range, ..]).mapv(f32::from) * scales
    }

    /// `x Wᵀ` of tokens `x` `[tokens, in]`, `[tokens, out]`: each token quantized by its own largest magnitude, as in a
    /// file, but computed in float64.
    pub(crate) fn product(&self, x: &Array2<f64>) -> Array2<f64> {
        let mut tokens = x.clone();
        for mut token in tokens.outer_iter_mut() {
            let most = token.fold(f64::from(LEAST), |most, x| most.max(x.abs()));
            let step = most / f64::from(LIMIT);
            token.mapv_inplace(|x| (x / step).round_ties_even() * step);
        }
        let channels = self.scales.len();
        let mut product = Array2::zeros((x.nrows(), channels));
        for start in (0..channels).step_by(ROWS) {
            let range = start..channels.min(start + ROWS);
            let part = tokens.dot(&self.rows(range.clone()).mapv(f64::from).t());
            product.slice_mut(s![.., range]).assign(&part);
        }
        product
    }
}

/// The quantized matrices of an export by name. Each matrix is quantized once: the reference model and the file share it.
#[derive(Debug, Default)]
pub(crate) struct QuantizedMatrices(RefCell<BTreeMap<String, Rc<QuantizedMatrix>>>);

impl QuantizedMatrices {
    /// The matrix `name`, which is quantized from the result of `tensor` at the first call.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix.
    pub(crate) fn get(
        &self,
        name: &str,
        tensor: impl FnOnce() -> Result<HostTensor, ModelError>,
    ) -> Result<Rc<QuantizedMatrix>, ModelError> {
        match self.known(name) {
            Some(matrix) => Ok(matrix),
            None => Ok(self.insert(name, &shaped(name, tensor()?)?)),
        }
    }

    /// Frees the matrix `name`.
    pub(crate) fn remove(&self, name: &str) {
        self.0.borrow_mut().remove(name);
    }

    fn known(&self, name: &str) -> Option<Rc<QuantizedMatrix>> {
        self.0.borrow().get(name).map(Rc::clone)
    }

    fn insert(&self, name: &str, values: &Array2<f32>) -> Rc<QuantizedMatrix> {
        let matrix = Rc::new(QuantizedMatrix::new(&values.view()));
        self.0.borrow_mut().insert(name.to_owned(), Rc::clone(&matrix));
        matrix
    }
}

/// A matrix of the reference model, `[out, in]`, in the precision of the file.
pub(crate) enum Matrix {
    /// As float32.
    Floats(Array2<f32>),
    /// As integers.
    Integers(Rc<QuantizedMatrix>),
}

impl Matrix {
    /// The matrix `name`. It is read from `tensor`, unless it is in `quantized`; a large matrix is added to `quantized`.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix.
    pub(crate) fn read(
        name: &str,
        quantized: Option<&QuantizedMatrices>,
        tensor: impl FnOnce() -> Result<HostTensor, ModelError>,
    ) -> Result<Self, ModelError> {
        if let Some(matrix) = quantized.and_then(|quantized| quantized.known(name)) {
            return Ok(Self::Integers(matrix));
        }
        let values: Array2<f32> = shaped(name, tensor()?)?;
        Ok(match quantized {
            Some(quantized) if is_large(values.shape()) => Self::Integers(quantized.insert(name, &values)),
            _ => Self::Floats(values),
        })
    }

    /// Number of rows and columns.
    pub(crate) fn shape(&self) -> [usize; 2] {
        let (rows, columns) = match self {
            Self::Floats(values) => values.dim(),
            Self::Integers(matrix) => matrix.integers.dim(),
        };
        [rows, columns]
    }

    /// Row `index`, `[in]`, as the float32 numbers that a file computes with.
    pub(crate) fn row(&self, index: usize) -> Array1<f32> {
        match self {
            Self::Floats(values) => values.row(index).to_owned(),
            Self::Integers(matrix) => matrix.rows(index..index + 1).remove_axis(Axis(0)),
        }
    }

    /// `x Wᵀ` of `x` `[tokens, in]`, `[tokens, out]`.
    pub(crate) fn product(&self, x: &Array2<f64>) -> Array2<f64> {
        let values = match self {
            Self::Integers(matrix) => return matrix.product(x),
            Self::Floats(values) => values,
        };
        let mut product = Array2::zeros((x.nrows(), values.nrows()));
        let parts = values.axis_chunks_iter(Axis(0), ROWS);
        for (part, mut out) in parts.zip(product.axis_chunks_iter_mut(Axis(1), ROWS)) {
            out.assign(&x.dot(&part.mapv(f64::from).t()));
        }
        product
    }
}
