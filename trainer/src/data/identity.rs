//! What tells two sequences of training examples apart.

use hyperloader_core::files::hexadecimal;
use sha2::{Digest, Sha256};

use super::batch::target;
use super::example::Example;

/// The SHA-256 of training examples: for each sequence its length and its ids, as 64-bit little-endian integers.
#[derive(Default)]
pub(super) struct ExampleHash(Sha256);

impl ExampleHash {
    pub(super) fn add(&mut self, example: &Example) {
        for ids in [&example.source, &example.target] {
            self.0.update((ids.len() as u64).to_le_bytes());
            ids.iter().for_each(|id| self.0.update(target(*id).to_le_bytes()));
        }
    }

    /// The hash in hexadecimal.
    pub(super) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}
