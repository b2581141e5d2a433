//! Which matrices a file stores in fewer bits.

use glob::Pattern;

use super::Precision;
use super::compact::blocks::BLOCK;

/// Matrices with fewer rows or columns stay in float32.
const SMALLEST: usize = 128;

/// The precision of a file, and the matrices that keep float32.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    /// Element type of the large matrices.
    pub precision: Precision,
    /// Names of matrices that are stored in float32 all the same, such as `decoder.block.0.*`.
    pub keep_f32: Vec<Pattern>,
}

impl From<Precision> for Storage {
    fn from(precision: Precision) -> Self {
        Self { precision, keep_f32: Vec::new() }
    }
}

impl Storage {
    /// Whether the matrix `name`, with the shape `[out, in]` of its source tensor, is stored in fewer bits.
    pub(crate) fn lowers(&self, name: &str, shape: &[usize]) -> bool {
        let [rows, columns] = *shape else { return false };
        let fits = match self.precision {
            Precision::F32 => false,
            Precision::F16 | Precision::Bf16 | Precision::Int8 => true,
            Precision::Int4 => columns.is_multiple_of(BLOCK),
        };
        fits && rows.min(columns) >= SMALLEST && !self.keep_f32.iter().any(|pattern| pattern.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_matrices_are_lowered_unless_their_name_is_kept() {
        let keep_f32 = vec![Pattern::new("decoder.*.wo.weight").unwrap()];
        let storage = Storage { precision: Precision::Int4, keep_f32 };
        assert!(storage.lowers("encoder.block.0.wo.weight", &[128, 256]));
        assert!(!storage.lowers("decoder.block.0.wo.weight", &[128, 256]), "kept");
        assert!(!storage.lowers("shared.weight", &[127, 256]), "few rows");
        assert!(!storage.lowers("shared.weight", &[256, 144]), "no multiple of the block");
        assert!(!storage.lowers("shared.weight", &[256]), "no matrix");
        assert!(Storage::from(Precision::Int8).lowers("shared.weight", &[256, 144]));
        assert!(!Storage::from(Precision::F32).lowers("shared.weight", &[256, 256]));
    }
}
