//! The bytes of a tensor in the order of the file.

use ndarray::ArrayViewD;

use crate::parallel::on_all_cores;

/// How the elements in the file are ordered, compared with the source tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As in the source tensor.
    Same,
    /// The transposed matrix: `[in, out]` of a linear map whose source is `[out, in]`.
    Transposed,
}

impl Layout {
    /// Shape in the file of a source tensor of shape `dims`.
    pub(crate) fn of_shape(self, dims: &[usize]) -> Vec<usize> {
        let mut dims = dims.to_vec();
        if self == Self::Transposed {
            dims.reverse();
        }
        dims
    }

    /// `tensor` with its dimensions in the order of the file.
    pub(crate) fn apply<T>(self, tensor: ArrayViewD<'_, T>) -> ArrayViewD<'_, T> {
        match self {
            Self::Same => tensor,
            Self::Transposed => tensor.reversed_axes(),
        }
    }
}

/// Rows and columns of the tiles that are transposed together: a line of the cache, in either direction.
const TILE: usize = 16;
/// Number of bytes of an element.
const SIZE: usize = 4;

/// The elements of `tensor` in `layout`, little-endian.
pub(crate) fn laid_out(tensor: &ArrayViewD<'_, f32>, layout: Layout) -> Vec<u8> {
    let mut bytes = vec![0; SIZE * tensor.len()];
    match (layout, tensor.as_slice(), tensor.shape()) {
        (Layout::Transposed, Some(elements), [_, columns]) => transpose(elements, *columns, &mut bytes),
        (Layout::Same, Some(elements), _) => copy(elements, &mut bytes),
        _ => copy(&layout.apply(tensor.view()).iter().copied().collect::<Vec<_>>(), &mut bytes),
    }
    bytes
}

fn copy(elements: &[f32], bytes: &mut [u8]) {
    for (bytes, element) in bytes.as_chunks_mut::<SIZE>().0.iter_mut().zip(elements) {
        *bytes = element.to_le_bytes();
    }
}

/// Writes the columns of the matrix `elements` of this number of columns, one after the other.
fn transpose(elements: &[f32], columns: usize, bytes: &mut [u8]) {
    let rows = elements.len() / columns.max(1);
    // Each item has the bytes of some columns.
    let parts = bytes.chunks_mut((SIZE * rows * TILE).max(1)).enumerate();
    on_all_cores(
        parts,
        || (),
        |(), (part, bytes)| {
            let to = bytes.as_chunks_mut::<SIZE>().0;
            let first = part * TILE;
            let last = columns.min(first + TILE);
            for start in (0..rows).step_by(TILE) {
                for row in start..rows.min(start + TILE) {
                    let from = &elements[row * columns + first..row * columns + last];
                    for (column, element) in from.iter().enumerate() {
                        to[column * rows + row] = element.to_le_bytes();
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayD, IxDyn};

    use super::*;

    fn bytes<'a>(elements: impl IntoIterator<Item = &'a f32>) -> Vec<u8> {
        elements.into_iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    #[test]
    fn a_transposed_matrix_has_its_columns_as_rows_whatever_its_shape() {
        for shape in [[1, 1], [16, 16], [17, 33], [3, 100], [100, 3], [0, 5], [129, 64]] {
            let matrix = Array2::from_shape_fn(shape, |(i, j)| (i * 1000 + j) as f32).into_dyn();
            assert_eq!(laid_out(&matrix.view(), Layout::Same), bytes(&matrix), "{shape:?}");
            let transposed = matrix.view().reversed_axes();
            assert_eq!(laid_out(&matrix.view(), Layout::Transposed), bytes(&transposed), "{shape:?}");
            // The view of a matrix that is stored by columns.
            assert_eq!(laid_out(&transposed, Layout::Same), bytes(&transposed), "{shape:?}");
            assert_eq!(laid_out(&transposed, Layout::Transposed), bytes(&matrix), "{shape:?}");
        }
        let vector = ArrayD::from_shape_vec(IxDyn(&[3]), vec![1.0, -2.0, 3.0]).unwrap();
        assert_eq!(laid_out(&vector.view(), Layout::Transposed), bytes(&vector));
    }
}
