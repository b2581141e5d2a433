//! Sentences as sub-words and tag indices, the input and output of a BERT (docs/reference/encodings.md#bio-tags-for-bert).

use std::ops::Range;

use hyperloader_core::files::hexadecimal;
use hyperloader_core::text::labels::LabelSet;
use hyperloader_core::text::source::CodingError;
use hyperloader_core::text::wordpiece::{self, WordPiece};
use hyperloader_core::text::writable::{WritableError, some_labels};
use sha2::{Digest, Sha256};

use crate::data::coding::{Coded, Coding, Limits, NO_TARGET};

impl Coding for WordPiece {
    fn identity(&self) -> String {
        hexadecimal(&Sha256::digest(self.text()))
    }

    /// Always empty: each task has its own classifier.
    fn prefix(&self, _: &str) -> Result<Vec<u32>, CodingError> {
        Ok(Vec::new())
    }

    fn max_words(&self) -> usize {
        usize::MAX
    }

    fn writes_targets(&self) -> bool {
        false
    }

    fn word_tokens(&self, word: &str) -> Result<usize, CodingError> {
        Ok(self.word(word)?.len())
    }

    fn tag_tokens(&self, _: Option<&[String]>, _: usize, _: bool) -> Result<usize, CodingError> {
        Ok(0)
    }

    fn encode(
        &self,
        _: &[u32],
        words: &[String],
        tags: &[String],
        window: Range<usize>,
        labels: &LabelSet,
    ) -> Result<Coded, CodingError> {
        let wordpiece::Coded { ids, first } = self.encode(words)?;
        let mut target = vec![NO_TARGET; ids.len()];
        for (at, tag) in first.into_iter().zip(&tags[window]) {
            target[at] = labels.bio_index(tag).map_or(NO_TARGET, |index| index as u32);
        }
        Ok(Coded { source: ids, target })
    }

    fn check_labels(&self, labels: &LabelSet) -> Result<(), WritableError> {
        some_labels(labels)
    }

    /// Whether the source fits. Targets are as long as sources, so only `limits.source` counts.
    fn fits(&self, coded: &Coded, limits: Limits) -> bool {
        coded.source.len() <= limits.source
    }

    fn truncate(&self, coded: &mut Coded, limits: Limits) {
        if coded.source.len() > limits.source {
            self.truncate(&mut coded.source, limits.source);
            coded.target.truncate(limits.source - 1);
            coded.target.push(NO_TARGET);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_depends_on_the_settings_beside_the_vocabulary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vocab.txt");
        std::fs::write(&path, "[PAD]\n[UNK]\n[CLS]\n[SEP]\nrosa\nRosa\n").unwrap();
        let identity = |config: &str| {
            std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
            WordPiece::from_file(&path).unwrap().identity()
        };
        let lower = identity("{}");
        assert_eq!(identity("{\"do_lower_case\": true}"), lower);
        assert_ne!(identity("{\"do_lower_case\": false}"), lower);
    }
}
