//! The matrices of the reference model in the precision of a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array1, Array2, Axis};

use super::compact::blocks::BlockMatrix;
use super::compact::halves;
use super::int8::matrix::{QuantizedMatrix, ROWS};
use super::{Precision, Storage};
use crate::error::ModelError;
use crate::tensor::shaped;

/// The matrices of an export. Each int8 matrix is quantized once: the reference model and the file share it.
#[derive(Debug, Default)]
pub(crate) struct StoredMatrices {
    storage: Storage,
    integers: RefCell<BTreeMap<String, Rc<QuantizedMatrix>>>,
}

impl StoredMatrices {
    /// The matrices of a file that is stored so.
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, integers: RefCell::default() }
    }

    /// The precision of the file.
    pub(crate) fn precision(&self) -> Precision {
        self.storage.precision
    }

    /// The int8 matrix `name`, which is quantized from the result of `tensor` at the first call.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix.
    pub(crate) fn integers(
        &self,
        name: &str,
        tensor: impl FnOnce() -> Result<HostTensor, ModelError>,
    ) -> Result<Rc<QuantizedMatrix>, ModelError> {
        match self.known(name) {
            Some(matrix) => Ok(matrix),
            None => Ok(self.insert(name, &shaped(name, tensor()?)?)),
        }
    }

    /// Frees the int8 matrix `name`.
    pub(crate) fn remove(&self, name: &str) {
        self.integers.borrow_mut().remove(name);
    }

    fn known(&self, name: &str) -> Option<Rc<QuantizedMatrix>> {
        self.integers.borrow().get(name).map(Rc::clone)
    }

    fn insert(&self, name: &str, values: &Array2<f32>) -> Rc<QuantizedMatrix> {
        let matrix = Rc::new(QuantizedMatrix::new(&values.view()));
        self.integers.borrow_mut().insert(name.to_owned(), Rc::clone(&matrix));
        matrix
    }

    fn matrix(&self, name: &str, mut values: Array2<f32>) -> Result<Matrix, ModelError> {
        if !self.storage.lowers(name, values.shape()) {
            return Ok(Matrix::Floats(values));
        }
        match self.storage.precision {
            Precision::F32 => {}
            Precision::F16 => {
                values.mapv_inplace(halves::round_f16);
                halves::check(name, &values)?;
            }
            Precision::Bf16 => {
                values.mapv_inplace(halves::round_bf16);
                halves::check(name, &values)?;
            }
            Precision::Int8 => return Ok(Matrix::Integers(self.insert(name, &values))),
            Precision::Int4 => values = BlockMatrix::new(name, &values.view())?.values(),
        }
        Ok(Matrix::Floats(values))
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
    /// The matrix `name` of `tensor`, in the precision of `stored` if given. An int8 matrix is added to `stored`, and
    /// `tensor` is not called if it is there already.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix, or the precision cannot hold it.
    pub(crate) fn read(
        name: &str,
        stored: Option<&StoredMatrices>,
        tensor: impl FnOnce() -> Result<HostTensor, ModelError>,
    ) -> Result<Self, ModelError> {
        if let Some(matrix) = stored.and_then(|stored| stored.known(name)) {
            return Ok(Self::Integers(matrix));
        }
        let values: Array2<f32> = shaped(name, tensor()?)?;
        match stored {
            Some(stored) => stored.matrix(name, values),
            None => Ok(Self::Floats(values)),
        }
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
