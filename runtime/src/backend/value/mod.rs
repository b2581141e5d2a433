//! Tensors that go into a graph and come out of it.
//!
//! - [`elements`]: the elements of a tensor, whichever backend holds them
//! - `of_ort`, `of_tract`: shape and elements of a backend's own tensor

mod elements;
#[cfg(feature = "ort")]
mod of_ort;
#[cfg(feature = "tract")]
mod of_tract;

use ndarray::{ArrayD, ArrayViewD, Axis, AxisDescription, Slice};

pub(super) use self::elements::Elements;
use super::error::BackendError;

/// A tensor of `f32` or `i64`, row-major. An output of a backend stays in the backend's memory until it is read, so that
/// the next graph can take it without a copy.
#[derive(Debug)]
pub struct Value(pub(super) Storage);

/// Where the elements are.
#[derive(Debug)]
pub(super) enum Storage {
    /// Shape and elements in our memory.
    F32(Vec<usize>, Vec<f32>),
    /// Shape and elements in our memory.
    I64(Vec<usize>, Vec<i64>),
    /// A tensor of ONNX Runtime.
    #[cfg(feature = "ort")]
    Ort(ort::value::DynValue),
    /// A tensor of tract.
    #[cfg(feature = "tract")]
    Tract(tract_onnx::prelude::TValue),
}

impl Value {
    /// A tensor of `shape` with these elements, row-major.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if `shape` needs another number of elements.
    pub fn from_f32s(shape: &[usize], elements: Vec<f32>) -> Result<Self, BackendError> {
        check_count(shape, elements.len())?;
        Ok(Self(Storage::F32(shape.to_vec(), elements)))
    }

    /// A tensor of `shape` with these elements, row-major.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if `shape` needs another number of elements.
    pub fn from_i64s(shape: &[usize], elements: Vec<i64>) -> Result<Self, BackendError> {
        check_count(shape, elements.len())?;
        Ok(Self(Storage::I64(shape.to_vec(), elements)))
    }

    /// A copy of the rows with these indices along the first axis, in this order.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if a row is missing.
    pub(crate) fn select_rows(&self, rows: &[usize]) -> Result<Self, BackendError> {
        fn select<T: Copy>(elements: &[T], stride: usize, rows: &[usize]) -> Vec<T> {
            let mut selected = Vec::with_capacity(rows.len() * stride);
            for row in rows {
                selected
                    .extend_from_slice(elements.get(row * stride..(row + 1) * stride).unwrap_or_default());
            }
            selected
        }
        let mut shape = self.shape();
        let stride = shape.iter().skip(1).product();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        match self.elements()? {
            Elements::F32(elements) => Self::from_f32s(&shape, select(elements, stride, rows)),
            Elements::I64(elements) => Self::from_i64s(&shape, select(elements, stride, rows)),
        }
    }

    /// Tensors of `f32`, concatenated along the first axis. Along the other axes, smaller ones are padded with zeros at the
    /// end.
    ///
    /// # Errors
    /// If a tensor has another type, or if the ranks differ.
    pub(crate) fn stacked(values: &[Self]) -> Result<Self, BackendError> {
        let views = values.iter().map(Self::view).collect::<Result<Vec<_>, _>>()?;
        let mut shape = vec![0; views.first().map_or(0, ArrayViewD::ndim)];
        for view in &views {
            let (rows, sizes) = view.shape().split_first().unwrap_or((&0, &[]));
            check_count(&[shape.len()], view.ndim())?;
            shape.iter_mut().take(1).for_each(|all| *all += rows);
            shape.iter_mut().skip(1).zip(sizes).for_each(|(most, size)| *most = (*most).max(*size));
        }
        let mut all = ArrayD::zeros(shape.as_slice());
        let mut start = 0;
        for view in views {
            let from = |axis| if axis == Axis(0) { start } else { 0 };
            let place =
                |at: AxisDescription| Slice::from(from(at.axis)..from(at.axis) + view.len_of(at.axis));
            all.slice_each_axis_mut(place).assign(&view);
            start += view.shape().first().unwrap_or(&0);
        }
        Self::from_f32s(&shape, all.into_raw_vec_and_offset().0)
    }

    fn view(&self) -> Result<ArrayViewD<'_, f32>, BackendError> {
        let (shape, elements) = (self.shape(), self.f32s()?);
        let misfit = |_| BackendError::Shape { shape: shape.clone(), found: elements.len() };
        ArrayViewD::from_shape(shape.as_slice(), elements).map_err(misfit)
    }

    /// The size of each axis; empty for a scalar.
    pub fn shape(&self) -> Vec<usize> {
        match &self.0 {
            Storage::F32(shape, _) | Storage::I64(shape, _) => shape.clone(),
            #[cfg(feature = "ort")]
            Storage::Ort(value) => of_ort::shape(value),
            #[cfg(feature = "tract")]
            Storage::Tract(value) => value.shape().to_vec(),
        }
    }

    /// The elements of a tensor of `f32`.
    ///
    /// # Errors
    /// [`BackendError::ElementType`] if the tensor holds another type.
    pub fn f32s(&self) -> Result<&[f32], BackendError> {
        match self.elements()? {
            Elements::F32(elements) => Ok(elements),
            Elements::I64(_) => Err(BackendError::ElementType { expected: "f32", found: "i64".into() }),
        }
    }

    /// The elements of a tensor of `i64`.
    ///
    /// # Errors
    /// [`BackendError::ElementType`] if the tensor holds another type.
    pub fn i64s(&self) -> Result<&[i64], BackendError> {
        match self.elements()? {
            Elements::I64(elements) => Ok(elements),
            Elements::F32(_) => Err(BackendError::ElementType { expected: "i64", found: "f32".into() }),
        }
    }

    pub(super) fn elements(&self) -> Result<Elements<'_>, BackendError> {
        match &self.0 {
            Storage::F32(_, elements) => Ok(Elements::F32(elements)),
            Storage::I64(_, elements) => Ok(Elements::I64(elements)),
            #[cfg(feature = "ort")]
            Storage::Ort(value) => of_ort::elements(value),
            #[cfg(feature = "tract")]
            Storage::Tract(value) => of_tract::elements(value),
        }
    }
}

fn check_count(shape: &[usize], found: usize) -> Result<(), BackendError> {
    let expected = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
    match expected == Some(found) {
        true => Ok(()),
        false => Err(BackendError::Shape { shape: shape.to_vec(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_selected_along_the_first_axis() {
        let value = Value::from_i64s(&[3, 2], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let selected = value.select_rows(&[2, 0]).unwrap();
        assert_eq!((selected.shape(), selected.i64s().unwrap()), (vec![2, 2], &[5, 6, 1, 2][..]));
        assert!(value.select_rows(&[3]).is_err());
    }

    #[test]
    fn values_are_stacked_along_the_first_axis_and_filled_up_along_the_others() {
        let [long, short] = [([1, 3], vec![1.0, 2.0, 3.0]), ([2, 2], vec![4.0, 5.0, 6.0, 7.0])]
            .map(|(shape, elements)| Value::from_f32s(&shape, elements).unwrap());
        let flat = Value::from_f32s(&[2], vec![8.0, 9.0]).unwrap();
        let stacked = Value::stacked(&[short, long]).unwrap();
        let expected = [4.0, 5.0, 0.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0];
        assert_eq!((stacked.shape(), stacked.f32s().unwrap()), (vec![3, 3], &expected[..]));
        assert!(Value::stacked(&[stacked, flat]).is_err());
        assert_eq!(Value::stacked(&[]).unwrap().shape(), [0; 0]);
    }

    #[test]
    fn a_value_holds_what_its_shape_asks_for_and_says_its_type() {
        let ids = Value::from_i64s(&[2, 1], vec![3, 4]).unwrap();
        assert_eq!((ids.shape(), ids.i64s().unwrap()), (vec![2, 1], &[3, 4][..]));
        let numbers = Value::from_f32s(&[], vec![0.5]).unwrap();
        assert_eq!((numbers.shape(), numbers.f32s().unwrap()), (vec![], &[0.5][..]));
        let messages = [
            ids.f32s().unwrap_err(),
            Value::from_i64s(&[2, 2], vec![1]).unwrap_err(),
            Value::from_f32s(&[usize::MAX, 2], vec![]).unwrap_err(),
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(messages.join("\n"), @r#"
        a tensor of f32 was expected, found i64
        a tensor of shape [2, 2] cannot hold 1 elements
        a tensor of shape [18446744073709551615, 2] cannot hold 0 elements
        "#);
    }
}
