//! Tensors in safetensors files, read without a copy.

use ndarray::{ArrayView, CowArray, IxDyn};
use safetensors::Dtype;

use super::tensors::{TensorError, TensorFile};

/// A row-major float32 tensor, borrowed from where it is or made for the caller.
pub type TensorRef<'a> = CowArray<'a, f32, IxDyn>;

impl TensorFile {
    /// As [`TensorFile::floats`], without a copy where the file has float32. The pages that are read stay in the memory of
    /// this process until [`TensorFile::release_tensor`].
    ///
    /// # Errors
    /// As [`TensorFile::floats`].
    pub fn floats_in_place(&self, name: &str) -> Result<TensorRef<'_>, TensorError> {
        let view = self.view(name)?;
        let values = (view.dtype() == Dtype::F32).then(|| floats(view.data())).flatten();
        let tensor = values.and_then(|values| ArrayView::from_shape(IxDyn(view.shape()), values).ok());
        match tensor {
            Some(tensor) => Ok(tensor.into()),
            None => Ok(self.floats(name)?.into()),
        }
    }

    /// Removes the bytes of the tensor `name` from the memory of this process; the next access reads them again.
    pub fn release_tensor(&self, name: &str) {
        if let Ok(view) = self.view(name) {
            self.release(view.data());
        }
    }
}

/// `bytes` as float32; `None` if they are not aligned or the machine has another byte order.
fn floats(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every pattern of 4 bytes is a float32.
    #[allow(unsafe_code)]
    let (before, floats, after) = unsafe { bytes.align_to::<f32>() };
    (cfg!(target_endian = "little") && before.is_empty() && after.is_empty()).then_some(floats)
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn a_tensor_in_place_equals_its_copy_whatever_its_type_and_alignment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let bytes: Vec<u8> =
            [1.5f32, -0.25, 1024.0, 0.0, 3.0, 7.5].iter().flat_map(|x| x.to_le_bytes()).collect();
        let halves: Vec<u8> = (0..6u16).flat_map(|x| half::f16::from_f32(x.into()).to_le_bytes()).collect();
        // `a` is the first tensor of the data. Spaces at the end of the header move it: it is aligned without them only.
        let views = [
            ("a", TensorView::new(Dtype::F32, vec![2, 3], &bytes).unwrap()),
            ("b", TensorView::new(Dtype::F16, vec![6], &halves).unwrap()),
        ];
        let header = |padding: usize| {
            let mut file = safetensors::serialize(views.clone(), None).unwrap();
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) + padding as u64;
            file[..8].copy_from_slice(&length.to_le_bytes());
            let end = length as usize - padding + 8;
            file.splice(end..end, std::iter::repeat_n(b' ', padding));
            file
        };
        for padding in 0..4 {
            std::fs::write(&path, header(padding)).unwrap();
            let file = TensorFile::open(&path).unwrap();
            for name in ["a", "b"] {
                let tensor = file.floats_in_place(name).unwrap();
                assert_eq!(tensor, file.floats(name).unwrap(), "{name}, {padding}");
                assert_eq!(tensor.is_view(), name == "a" && padding == 0, "{name}, {padding}");
            }
            file.release_tensor("a");
            assert_eq!(file.floats_in_place("a").unwrap(), file.floats("a").unwrap());
        }
    }
}
