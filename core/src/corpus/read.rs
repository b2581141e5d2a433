//! Files to checked sentences, whatever the layout.

use std::path::Path;

use super::error::LineFault;
use super::{CorpusError, Fault, LabelTransform, Layout, Sentence};
use super::{bio_columns, conll, jsonl, mtod, mtop, seq_in_out};
use crate::files::FileError;
use crate::text::spans::Bio;
use crate::text::words::{WordSplitting, is_whitespace};

/// The sentences of one file (a folder for [`Layout::SeqInOut`]). `words` matters only for text with spans in [`Layout::Jsonl`].
///
/// # Errors
/// If the file cannot be read, is not UTF-8, holds no sentence or a bad line.
pub fn read(
    path: &Path,
    layout: Layout,
    labels: &LabelTransform,
    words: WordSplitting,
) -> Result<Vec<Sentence>, CorpusError> {
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| FileError::new("read", path, error));
    if layout == Layout::SeqInOut {
        let paths = [path.join("seq.in"), path.join("seq.out")];
        let contents = [bytes(&paths[0])?, bytes(&paths[1])?];
        let texts = [utf8(&paths[0], &contents[0])?, utf8(&paths[1], &contents[1])?];
        let lines = texts.map(|text| text.lines().count());
        if lines[0] != lines[1] {
            let [words_path, tags_path] = paths;
            return Err(CorpusError::Lines { words_path, words: lines[0], tags_path, tags: lines[1] });
        }
        return finish(&paths[0], layout, labels, seq_in_out::parse(texts[0], texts[1]));
    }
    let content = bytes(path)?;
    parse(path, &content, layout, labels, words)
}

pub(super) fn parse(
    path: &Path,
    content: &[u8],
    layout: Layout,
    labels: &LabelTransform,
    words: WordSplitting,
) -> Result<Vec<Sentence>, CorpusError> {
    let text = utf8(path, content)?;
    let parsed = match layout {
        Layout::SeqInOut => seq_in_out::parse(text, text),
        Layout::BioColumns => bio_columns::parse(text),
        Layout::Mtop => mtop::parse(text),
        Layout::Mtod => mtod::parse(text),
        Layout::Conll => conll::parse(text),
        Layout::Jsonl => jsonl::parse(text, words),
    };
    finish(path, layout, labels, parsed)
}

fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, CorpusError> {
    let text = std::str::from_utf8(bytes).map_err(|error| CorpusError::NotUtf8 {
        path: path.to_owned(),
        line: 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Checks what [`Sentence`] promises and rewrites labels.
fn finish(
    path: &Path,
    layout: Layout,
    labels: &LabelTransform,
    parsed: Result<Vec<Sentence>, LineFault>,
) -> Result<Vec<Sentence>, CorpusError> {
    let checked = parsed.and_then(|mut sentences| {
        for sentence in &mut sentences {
            check(sentence, layout, labels)?;
        }
        Ok(sentences)
    });
    let sentences = checked.map_err(|(line, fault)| CorpusError::Line {
        path: path.to_owned(),
        line,
        fault: Box::new(fault),
    })?;
    if sentences.is_empty() {
        return Err(CorpusError::NoSentences(path.to_owned()));
    }
    Ok(sentences)
}

fn check(sentence: &mut Sentence, layout: Layout, labels: &LabelTransform) -> Result<(), LineFault> {
    let first = sentence.line;
    let line = |word: usize| {
        if layout.is_columns() { first + word } else { first }
    };
    let (words, tags) = (sentence.words.len(), sentence.tags.len());
    if words != tags {
        return Err((first, Fault::Count { words, tags }));
    }
    if words == 0 {
        return Err((first, Fault::NoWords));
    }
    for (index, (word, tag)) in sentence.words.iter().zip(&mut sentence.tags).enumerate() {
        check_word(index, word).map_err(|fault| (line(index), fault))?;
        *tag = rewrite(tag, labels).map_err(|fault| (line(index), fault))?;
    }
    Ok(())
}

fn check_word(index: usize, word: &str) -> Result<(), Fault> {
    match word {
        "" => Err(Fault::EmptyWord(index + 1)),
        _ if word.chars().any(is_whitespace) => Err(Fault::WordWhiteSpace(word.to_owned())),
        _ => Ok(()),
    }
}

fn rewrite(tag: &str, labels: &LabelTransform) -> Result<String, Fault> {
    let (prefix, label) = match (Bio::parse(tag), tag) {
        (Some(Bio::Outside), _) => return Ok(tag.to_owned()),
        (Some(Bio::Begin(label)), _) => ("B", labels.apply(label)),
        (Some(Bio::Inside(label)), _) => ("I", labels.apply(label)),
        (None, "B-" | "I-") => return Err(Fault::EmptyLabel(tag.to_owned())),
        (None, _) => return Err(Fault::NotBio(tag.to_owned())),
    };
    match label.as_str() {
        "" => Err(Fault::EmptyLabel(tag.to_owned())),
        "O" | "I" => Err(Fault::ReservedLabel(label)),
        _ if label.chars().any(is_whitespace) => Err(Fault::LabelWhiteSpace(label)),
        _ => Ok(format!("{prefix}-{label}")),
    }
}
