//! Which rule for free text fits the tokens of a corpus.

use super::record::Record;
use crate::text::words::{WordFit, WordRule, WordSplitting};

/// Text and the places of its tokens, in characters.
struct Tokenized {
    text: String,
    places: Vec<(usize, usize)>,
}

/// How well each rule reproduces the tokens of records. Where records have tokens and no text, the text is put together from the
/// tokens as it is commonly written: no blank before `,` or after `(`.
#[derive(Debug)]
pub(super) struct Fits {
    fits: Vec<WordFit>,
    lowercase: bool,
}

impl Default for Fits {
    fn default() -> Self {
        let fit =
            |rule| WordFit { splitting: WordSplitting { rule, lowercase: false }, tokens: 0, reproduced: 0 };
        Self { fits: WordRule::ALL.map(fit).to_vec(), lowercase: true }
    }
}

impl Fits {
    /// The fits to `records`.
    pub(super) fn of(records: &[Record]) -> Self {
        let mut fits = Self::default();
        records.iter().for_each(|record| fits.add(record));
        fits
    }

    /// Compares the rules with the tokens of a record.
    pub(super) fn add(&mut self, record: &Record) {
        let Some(words) = record.words.as_ref().filter(|_| record.left_out.is_none()) else { return };
        self.lowercase &= !words.iter().any(|word| word.chars().any(char::is_uppercase));
        let Tokenized { text, places } = tokenized(record, words);
        for fit in &mut self.fits {
            fit.tokens += places.len();
            fit.reproduced += reproduced(&text, &places, fit.splitting);
        }
    }

    /// How free text is cut into words, and how well that fits the tokens, if there are tokens. `configured` is the
    /// splitting that was asked for, `usual` that of the layout.
    pub(super) fn choice(
        mut self,
        configured: Option<WordSplitting>,
        usual: WordSplitting,
    ) -> (WordSplitting, Option<WordFit>) {
        self.fits.iter_mut().for_each(|fit| fit.splitting.lowercase = self.lowercase);
        let fits = self.fits.into_iter().filter(|fit| fit.tokens > 0).collect::<Vec<_>>();
        match configured {
            Some(words) => {
                let fit = fits.into_iter().find(|fit| fit.splitting.rule == words.rule);
                (words, fit.map(|fit| WordFit { splitting: words, ..fit }))
            }
            None => {
                let fit = best(&fits, usual.rule);
                (fit.map_or(usual, |fit| fit.splitting), fit)
            }
        }
    }
}

/// The rule that reproduces most tokens; of equally good ones `usual`, then the simplest.
fn best(fits: &[WordFit], usual: WordRule) -> Option<WordFit> {
    let most = fits.iter().map(|fit| fit.reproduced).max()?;
    let mut best = fits.iter().filter(|fit| fit.reproduced == most);
    let first = best.clone().next();
    best.find(|fit| fit.splitting.rule == usual).or(first).copied()
}

fn tokenized(record: &Record, words: &[String]) -> Tokenized {
    match (&record.text, &record.offsets) {
        (Some(text), Some(places)) => Tokenized { text: text.clone(), places: places.clone() },
        (Some(text), None) => found_in(text, words).unwrap_or_else(|| joined(words)),
        (None, _) => joined(words),
    }
}

/// The tokens one after the other in `text`, if all are there.
fn found_in(text: &str, words: &[String]) -> Option<Tokenized> {
    let (mut byte, mut at) = (0, 0);
    let mut places = Vec::with_capacity(words.len());
    for word in words {
        let skipped = text[byte..].find(word.as_str())?;
        at += text[byte..byte + skipped].chars().count();
        let length = word.chars().count();
        places.push((at, at + length));
        (byte, at) = (byte + skipped + word.len(), at + length);
    }
    Some(Tokenized { text: text.to_owned(), places })
}

/// The tokens as text.
fn joined(words: &[String]) -> Tokenized {
    let mut text = String::new();
    let mut places = Vec::with_capacity(words.len());
    let (mut at, mut glue, mut quoted) = (0, true, false);
    for word in words {
        let quote = word == "\"";
        let closes = closes(word) || (quote && quoted);
        if !glue && !closes {
            text.push(' ');
            at += 1;
        }
        let length = word.chars().count();
        places.push((at, at + length));
        text.push_str(word);
        at += length;
        glue = opens(word) || (quote && !quoted);
        quoted ^= quote;
    }
    Tokenized { text, places }
}

/// Whether a token is written without a blank before it.
fn closes(word: &str) -> bool {
    matches!(
        word,
        "," | "."
            | ";"
            | ":"
            | "!"
            | "?"
            | "%"
            | ")"
            | "]"
            | "}"
            | "''"
            | "\u{2019}"
            | "\u{201d}"
            | "\u{bb}"
            | "..."
            | "\u{2026}"
            | "\u{3002}"
            | "\u{3001}"
            | "n't"
            | "'s"
            | "'S"
            | "'re"
            | "'ve"
            | "'ll"
            | "'d"
            | "'m"
            | "\u{2019}s"
    )
}

/// Whether the next token is written without a blank after this one.
fn opens(word: &str) -> bool {
    matches!(
        word,
        "(" | "["
            | "{"
            | "``"
            | "$"
            | "\u{20ac}"
            | "\u{a3}"
            | "\u{a5}"
            | "#"
            | "\u{201c}"
            | "\u{2018}"
            | "\u{ab}"
            | "\u{bf}"
            | "\u{a1}"
    )
}

fn reproduced(text: &str, places: &[(usize, usize)], splitting: WordSplitting) -> usize {
    let words: std::collections::HashSet<(usize, usize)> =
        splitting.split(text).into_iter().map(|word| (word.start, word.end)).collect();
    places.iter().filter(|place| words.contains(place)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(records: &[Record], usual: WordRule) -> WordFit {
        let usual = WordSplitting { rule: usual, lowercase: false };
        Fits::of(records).choice(None, usual).1.unwrap()
    }

    fn rule(sentences: &[&str]) -> (WordRule, bool, usize) {
        let record = |sentence: &&str| Record {
            words: Some(sentence.split(' ').map(str::to_owned).collect()),
            ..Record::default()
        };
        let records: Vec<Record> = sentences.iter().map(record).collect();
        let fit = choice(&records, WordRule::Punctuation);
        (fit.splitting.rule, fit.splitting.lowercase, fit.tokens - fit.reproduced)
    }

    #[test]
    fn the_rule_follows_from_the_tokens() {
        assert_eq!(rule(&["rosa , meet me in lima ."]), (WordRule::Punctuation, true, 0));
        assert_eq!(rule(&["Rosa, meet me in Lima.", "It's (not) far!"]), (WordRule::Whitespace, false, 0));
        assert_eq!(rule(&["what 's up at 7 : 30 ?", "lisa 's plan"]), (WordRule::Clitics, true, 0));
        assert_eq!(rule(&["He paid $ 450 ( 3.5 % ) .", "i-phone_x 3:30"]).0, WordRule::Punctuation);
        // Nothing tells: the usual rule.
        assert_eq!(rule(&["no marks here"]), (WordRule::Punctuation, true, 0));
        // Penn Treebank's negation is no rule's.
        assert_eq!(rule(&["I do n't , ever ."]), (WordRule::Punctuation, false, 2));
    }

    #[test]
    fn tokens_are_found_in_their_text() {
        let record = Record {
            text: Some("Rosa's  caf\u{e9}, Lima".to_owned()),
            words: Some(["Rosa", "'s", "caf\u{e9}", ",", "Lima"].map(str::to_owned).to_vec()),
            ..Record::default()
        };
        let fit = choice(&[record], WordRule::Whitespace);
        assert_eq!((fit.splitting.rule, fit.tokens, fit.reproduced), (WordRule::Clitics, 5, 5));
        assert_eq!(fit.missed_share(), 0.0);
        assert_eq!(fit.note(), None);
    }
}
