//! ATIS and SNIPS as distributed by SlotGated-SLU (Goo et al. 2018): a folder with `seq.in` (words) and `seq.out` (BIO tags), aligned
//! by line. Columns are cut at runs of white space: `seq.in` has trailing and double spaces.

use super::Sentence;
use super::error::{Fault, LineFault};
use crate::text::words::{is_whitespace, split_whitespace};

/// Reads both files, which must have the same number of lines.
pub(super) fn parse(words: &str, tags: &str) -> Result<Vec<Sentence>, LineFault> {
    let pairs = words.lines().zip(tags.lines()).enumerate();
    pairs.map(|(index, (words, tags))| parse_line(index + 1, words, tags)).collect()
}

fn parse_line(line: usize, text: &str, tags: &str) -> Result<Sentence, LineFault> {
    let tags: Vec<String> =
        tags.split(is_whitespace).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let (words, offsets): (Vec<String>, Vec<_>) =
        split_whitespace(text).into_iter().map(|word| (word.text, (word.start, word.end))).unzip();
    if words.len() != tags.len() {
        return Err((line, Fault::Count { words: words.len(), tags: tags.len() }));
    }
    Ok(Sentence { words, tags, text: Some(text.to_owned()), offsets: Some(offsets), line })
}
