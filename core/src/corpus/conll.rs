//! CoNLL files: a word, up to two further columns, a tag, separated by tabs or spaces; blank lines between sentences;
//! `-DOCSTART-` lines are skipped. CoNLL-2003 itself is IOB1, where `I-x` may open a span: such tags become `B-x`.

use super::Sentence;
use super::bio_columns::parse_columns;
use super::error::{Fault, LineFault};
use crate::text::spans::Bio;

pub(super) fn parse(text: &str) -> Result<Vec<Sentence>, LineFault> {
    let mut sentences = parse_columns(text, |line| {
        if line.starts_with("-DOCSTART-") {
            return Ok(None);
        }
        let columns: Vec<&str> =
            if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
        match columns[..] {
            [word, tag] | [word, _, tag] | [word, _, _, tag] => Ok(Some((word, tag.trim_end()))),
            _ => Err(Fault::Columns { layout: "conll", want: "2 to 4", got: columns.len() }),
        }
    })?;
    sentences.iter_mut().for_each(|sentence| open_spans(&mut sentence.tags));
    Ok(sentences)
}

fn open_spans(tags: &mut [String]) {
    let mut open: Option<String> = None;
    for tag in tags {
        let label = Bio::parse(tag).and_then(Bio::label).map(str::to_owned);
        if let (Some(label), Some(Bio::Inside(_))) = (&label, Bio::parse(tag))
            && open.as_ref() != Some(label)
        {
            *tag = format!("B-{label}");
        }
        open = label;
    }
}
