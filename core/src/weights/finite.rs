//! Numbers that are not finite, found in the bytes of a tensor.

use safetensors::Dtype;

use super::tensors::float_at;

/// Elements that are looked at together.
const CHUNK: usize = 1 << 14;

/// The flat index of the first element that is infinite or not a number, and its value. `None` if all are finite, or the
/// type is not one of the floats that are read.
pub(super) fn first_not_finite(dtype: Dtype, bytes: &[u8]) -> Option<(usize, f32)> {
    // A float is not finite if all bits of its exponent are set.
    match dtype {
        Dtype::F32 => first(bytes.as_chunks::<4>().0, dtype, |b| !u32::from_le_bytes(b) & 0x7f80_0000 == 0),
        Dtype::F16 => first(bytes.as_chunks::<2>().0, dtype, |b| !u16::from_le_bytes(b) & 0x7c00 == 0),
        Dtype::BF16 => first(bytes.as_chunks::<2>().0, dtype, |b| !u16::from_le_bytes(b) & 0x7f80 == 0),
        _ => None,
    }
}

/// Chunks are tested without branches, so that the compiler can use vector instructions.
fn first<const N: usize>(
    elements: &[[u8; N]],
    dtype: Dtype,
    is_bad: impl Fn([u8; N]) -> bool,
) -> Option<(usize, f32)> {
    let bad = |chunk: &[[u8; N]]| chunk.iter().fold(false, |any, b| any | is_bad(*b));
    let (number, chunk) = elements.chunks(CHUNK).enumerate().find(|(_, chunk)| bad(chunk))?;
    let place = chunk.iter().position(|b| is_bad(*b))?;
    Some((number * CHUNK + place, float_at(dtype, &chunk[place])?))
}

/// The indices of the element with flat index `flat` in a row-major tensor of this shape.
pub(super) fn indices(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut indices = vec![0; shape.len()];
    for (index, size) in indices.iter_mut().zip(shape).rev() {
        *index = flat % (*size).max(1);
        flat /= (*size).max(1);
    }
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_that_is_not_finite_is_found_wherever_it_is() {
        for length in [1, 7, CHUNK, 2 * CHUNK + 3] {
            for place in [0, length / 2, length - 1] {
                for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut floats = vec![-f32::MAX; length];
                    floats[place] = value;
                    let bytes: Vec<u8> = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
                    let found = first_not_finite(Dtype::F32, &bytes).unwrap();
                    assert_eq!((found.0, found.1.to_bits()), (place, value.to_bits()));
                    let half: Vec<u8> =
                        floats.iter().flat_map(|x| half::bf16::from_f32(x / 2.0).to_le_bytes()).collect();
                    assert_eq!(first_not_finite(Dtype::BF16, &half).unwrap().0, place);
                }
            }
        }
        let largest: Vec<u8> =
            [half::f16::MAX, half::f16::MIN, half::f16::ZERO].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(first_not_finite(Dtype::F16, &largest), None);
        let overflow = half::f16::from_f32(1e6).to_le_bytes();
        assert_eq!(first_not_finite(Dtype::F16, &overflow), Some((0, f32::INFINITY)));
    }

    #[test]
    fn indices_are_those_of_rows_and_columns() {
        assert_eq!(indices(7, &[3, 4]), [1, 3]);
        assert_eq!(indices(11, &[3, 4]), [2, 3]);
        assert_eq!(indices(0, &[]), [0usize; 0]);
    }
}
