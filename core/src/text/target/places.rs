//! Where in a target the tag of each word stands.

use std::ops::Range;

use super::{Alignment, TargetGrammar};
use crate::text::sentt::{SentT, SentTError};

impl TargetGrammar {
    /// The ids in `target` from which [`TargetGrammar::decode`] reads the tag of each of `words` words, without the
    /// sentinel or `</s>` that ends them; `None` for a tag that is filled up, and for all words if the words of the text
    /// are not those between the sentinels.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn places(
        &self,
        codec: &SentT,
        target: &[u32],
        words: usize,
        alignment: Alignment,
    ) -> Result<Vec<Option<Range<usize>>>, SentTError> {
        let mut places = match alignment {
            Alignment::Order => self.places_in_order(codec, target)?,
            Alignment::Sentinel => self.places_by_sentinel(codec, target, words)?,
        };
        places.resize(words, None);
        Ok(places)
    }

    fn places_in_order(
        &self,
        codec: &SentT,
        target: &[u32],
    ) -> Result<Vec<Option<Range<usize>>>, SentTError> {
        let special = |id: &u32| [self.pad, self.eos].contains(id) || self.sentinels.index(*id).is_some();
        let mut gaps: Vec<Range<usize>> = Vec::new();
        for (at, _) in target.iter().enumerate().filter(|(_, id)| !special(id)) {
            match gaps.last_mut() {
                Some(gap) if gap.end == at => gap.end += 1,
                _ => gaps.push(at..at + 1),
            }
        }
        let known = gaps.iter().all(|gap| self.tag(&target[gap.clone()]).is_some());
        match known || self.are_words(codec, target, &gaps)? {
            true => Ok(gaps.into_iter().map(Some).collect()),
            false => Ok(Vec::new()),
        }
    }

    /// Whether each of `gaps` is a word of the text of `target`, and there are no others.
    fn are_words(&self, codec: &SentT, target: &[u32], gaps: &[Range<usize>]) -> Result<bool, SentTError> {
        let words = codec.decode_words(target)?;
        if words.len() != gaps.len() {
            return Ok(false);
        }
        for (word, gap) in words.iter().zip(gaps) {
            if codec.decode_words(&target[gap.clone()])? != [word.as_str()] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn places_by_sentinel(
        &self,
        codec: &SentT,
        target: &[u32],
        words: usize,
    ) -> Result<Vec<Option<Range<usize>>>, SentTError> {
        let mut places = vec![None; words];
        let mut found = vec![false; words];
        let end = target.iter().position(|id| *id == self.eos).unwrap_or(target.len());
        for (at, id) in target[..end].iter().enumerate() {
            let Some(word) = self.sentinels.index(*id).filter(|&word| word < words && !found[word]) else {
                continue;
            };
            found[word] = true;
            let gap = &target[at + 1..end];
            let length = gap.iter().position(|id| self.sentinels.index(*id).is_some()).unwrap_or(gap.len());
            let gap = &gap[..length];
            if self.tag(gap).is_some() || !codec.decode_words(gap)?.is_empty() {
                places[word] = Some(at + 1..at + 1 + length);
            }
        }
        Ok(places)
    }
}
