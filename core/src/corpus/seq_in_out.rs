//! ATIS and SNIPS as distributed by SlotGated-SLU (Goo et al. 2018): a folder with `seq.in` (words) and `seq.out` (BIO tags), aligned
//! by line. Columns are cut at runs of white space: `seq.in` has trailing and double spaces.

use super::error::{Fault, LineFault};
use super::reader::Reader;
use super::record::{Gold, Record};
use super::source::{Line, Source};
use crate::text::words::{is_whitespace, split_whitespace};

/// Reads both files line by line.
pub(super) struct PairReader<'a> {
    words: Source<'a>,
    tags: Source<'a>,
    lines: [usize; 2],
}

impl<'a> PairReader<'a> {
    pub(super) fn new(words: Source<'a>, tags: Source<'a>) -> Self {
        Self { words, tags, lines: [0, 0] }
    }

    /// Lines of the longer file, after the shorter one ended.
    fn uneven(&mut self) -> LineFault {
        let [words, tags] = [&mut self.words, &mut self.tags]
            .map(|source| std::iter::from_fn(|| source.line()).take_while(Result::is_ok).count());
        let [words, tags] = [self.lines[0] + words, self.lines[1] + tags];
        LineFault::new(words.min(tags) + 1, Fault::Lines { words, tags })
    }
}

impl Reader for PairReader<'_> {
    fn next(&mut self) -> Option<Result<Record, LineFault>> {
        let (words, tags) = (self.words.line(), self.tags.line());
        self.lines[0] += usize::from(words.is_some());
        self.lines[1] += usize::from(tags.is_some());
        match (words, tags) {
            (None, None) => None,
            (Some(Ok(words)), Some(Ok(tags))) => Some(pair(words, &tags.text)),
            (Some(Err(fault)), _) => Some(Err(fault)),
            (_, Some(Err(LineFault { line, fault }))) => {
                Some(Err(LineFault::new(line, Fault::Of { file: "seq.out", fault: Box::new(fault) })))
            }
            (Some(_), None) | (None, Some(_)) => Some(Err(self.uneven())),
        }
    }
}

fn pair(Line { number, text }: Line, tags: &str) -> Result<Record, LineFault> {
    let tags: Vec<String> =
        tags.split(is_whitespace).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    let (words, offsets): (Vec<String>, Vec<_>) =
        split_whitespace(&text).into_iter().map(|word| (word.text, (word.start, word.end))).unzip();
    if words.len() != tags.len() {
        return Err(LineFault::new(number, Fault::Count { words: words.len(), tags: tags.len() }));
    }
    let (words, offsets) = (Some(words), Some(offsets));
    Ok(Record { line: number, text: Some(text), words, offsets, gold: Gold::Tags(tags), ..Record::default() })
}
