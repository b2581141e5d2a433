//! The matrices of the reference model in the precision of a file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyperloader_core::weights::in_place::TensorRef;
use ndarray::{Array1, Array2, ArrayRef2, ArrayView2, Axis, CowArray, Ix2, s};

use super::compact::blocks::BlockMatrix;
use super::compact::halves;
use super::int8::matrix::QuantizedMatrix;
use super::{Precision, Storage};
use crate::error::ModelError;
use crate::product::{FEW, product, product_of_few};
use crate::tensor::shaped;

/// The matrices of an export. Each int8 matrix is quantized once: the reference model and the file share it.
#[derive(Debug, Default)]
pub(crate) struct StoredMatrices {
    storage: Storage,
    integers: Mutex<BTreeMap<String, Arc<QuantizedMatrix>>>,
}

impl StoredMatrices {
    /// The matrices of a file that is stored so.
    pub(crate) fn new(storage: Storage) -> Self {
        Self { storage, integers: Mutex::default() }
    }

    /// The precision of the file.
    pub(crate) fn precision(&self) -> Precision {
        self.storage.precision
    }

    /// The int8 matrix `name`, which is quantized from the result of `tensor` at the first call.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix.
    pub(crate) fn integers<'a>(
        &self,
        name: &str,
        tensor: impl FnOnce() -> Result<TensorRef<'a>, ModelError>,
    ) -> Result<Arc<QuantizedMatrix>, ModelError> {
        match self.known(name) {
            Some(matrix) => Ok(matrix),
            None => Ok(self.insert(name, &shaped::<_, Ix2>(name, tensor()?)?.view())),
        }
    }

    /// Frees the int8 matrix `name`.
    pub(crate) fn remove(&self, name: &str) {
        self.locked().remove(name);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Arc<QuantizedMatrix>>> {
        self.integers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, name: &str) -> Option<Arc<QuantizedMatrix>> {
        self.locked().get(name).map(Arc::clone)
    }

    fn insert(&self, name: &str, values: &ArrayView2<'_, f32>) -> Arc<QuantizedMatrix> {
        let matrix = Arc::new(QuantizedMatrix::new(values));
        self.locked().insert(name.to_owned(), Arc::clone(&matrix));
        matrix
    }

    fn matrix<'a>(&self, name: &str, values: CowArray<'a, f32, Ix2>) -> Result<Matrix<'a>, ModelError> {
        if !self.storage.lowers(name, values.shape()) {
            return Ok(Matrix::Floats(values));
        }
        let rounded = |round: fn(f32) -> f32| {
            let values = values.mapv(round);
            halves::check(name, &values)?;
            Ok(Matrix::Floats(values.into()))
        };
        match self.storage.precision {
            Precision::F32 => Ok(Matrix::Floats(values)),
            Precision::F16 => rounded(halves::round_f16),
            Precision::Bf16 => rounded(halves::round_bf16),
            Precision::Int8 => Ok(Matrix::Integers(self.insert(name, &values.view()))),
            Precision::Int4 => Ok(Matrix::Floats(BlockMatrix::new(name, &values.view())?.values().into())),
        }
    }
}

/// A matrix of the reference model, `[out, in]`, in the precision of the file.
pub(crate) enum Matrix<'a> {
    /// As float32.
    Floats(CowArray<'a, f32, Ix2>),
    /// As integers.
    Integers(Arc<QuantizedMatrix>),
}

impl<'a> Matrix<'a> {
    /// The matrix `name` of `tensor`, in the precision of `stored` if given. An int8 matrix is added to `stored`, and
    /// `tensor` is not called if it is there already.
    ///
    /// # Errors
    /// Returns an error if `tensor` fails or returns a tensor that is not a matrix, or the precision cannot hold it.
    pub(crate) fn read(
        name: &str,
        stored: Option<&StoredMatrices>,
        tensor: impl FnOnce() -> Result<TensorRef<'a>, ModelError>,
    ) -> Result<Self, ModelError> {
        if let Some(matrix) = stored.and_then(|stored| stored.known(name)) {
            return Ok(Self::Integers(matrix));
        }
        let values: CowArray<'a, f32, Ix2> = shaped(name, tensor()?)?;
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
    pub(crate) fn product(&self, x: &ArrayRef2<f64>) -> Array2<f64> {
        match self {
            Self::Integers(matrix) => matrix.product(x),
            Self::Floats(values) if x.nrows() <= FEW => product_of_few(x, &values.view()),
            Self::Floats(values) => product(x, values.nrows(), |rows, mut wide| {
                wide.zip_mut_with(&values.slice(s![rows, ..]), |wide, x| *wide = f64::from(*x));
            }),
        }
    }
}
