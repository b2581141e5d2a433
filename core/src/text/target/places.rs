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
            Alignment::Sentinel => self.places_by_sentinel(target, words),
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
        match known || codec.decode_words(target)?.len() == gaps.len() {
            true => Ok(gaps.into_iter().map(Some).collect()),
            false => Ok(Vec::new()),
        }
    }

    fn places_by_sentinel(&self, target: &[u32], words: usize) -> Vec<Option<Range<usize>>> {
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
            places[word] = (length > 0).then_some(at + 1..at + 1 + length);
        }
        places
    }
}
