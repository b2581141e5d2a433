//! Free text to words with character offsets.
//!
//! A model has only seen words as its corpus cut them, so free text must be cut the same way. On the sentences that the
//! corpora distribute with their own tokens, the rules below give exactly those tokens for 2,235 of 2,235 eval and 4,386 of
//! 4,386 test utterances of mTOP ([`WordRule::Clitics`]), and for 4,181 of 4,181 eval and 8,621 of 8,621 test utterances of
//! mTOD ([`WordRule::Punctuation`], lower case). ATIS, SNIPS and MIT are distributed as words; there [`WordRule::Whitespace`] fits.

use std::fmt;
use std::ops::Range;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// How free text becomes the words that a task was trained on.
///
/// Read from the name of a rule (`"punctuation"`) or a table (`{ rule = "punctuation", lowercase = true }`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WordSplitting {
    /// Where words end.
    pub rule: WordRule,
    /// Whether words are lower-cased.
    pub lowercase: bool,
}

/// Where words end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordRule {
    /// At white space only.
    #[default]
    Whitespace,
    /// At white space and around every punctuation mark and currency or mathematical sign (`$450`, `€75`), but for `.` and `'` between two letters or two digits and `,` and `;`
    /// between two digits: `what's`, `a.m .`, `7 : 30`, `1,000` (as mTOD).
    Punctuation,
    /// As `Punctuation`, and before a possessive or short `'s`, and between a number and `am` or `pm`: `what 's`, `7 pm` (as mTOP).
    Clitics,
    /// At the word boundaries of Unicode (UAX 29): `what's`, `3.14`, `$ 450`, `e - mail`.
    Unicode,
}

impl WordRule {
    /// All rules.
    pub const ALL: [Self; 4] = [Self::Whitespace, Self::Punctuation, Self::Clitics, Self::Unicode];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whitespace => "whitespace",
            Self::Punctuation => "punctuation",
            Self::Clitics => "clitics",
            Self::Unicode => "unicode",
        }
    }
}

/// How well a rule for free text reproduces the tokens of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordFit {
    /// Rule that was compared with the tokens.
    pub splitting: WordSplitting,
    /// Tokens that were compared.
    pub tokens: usize,
    /// Tokens that the rule gives too.
    pub reproduced: usize,
}

impl WordFit {
    /// Share of the tokens that the rule does not give, 0 to 1.
    pub fn missed_share(&self) -> f64 {
        (self.tokens - self.reproduced.min(self.tokens)) as f64 / self.tokens.max(1) as f64
    }

    /// What a user should know, if not all tokens are reproduced.
    pub fn note(&self) -> Option<String> {
        let missed = self.tokens.saturating_sub(self.reproduced);
        (missed > 0).then(|| {
            format!(
                "the rule `{}` cuts free text otherwise than {missed} of {} tokens of the corpus ({:.2} %)",
                self.splitting.rule.name(),
                self.tokens,
                100.0 * self.missed_share()
            )
        })
    }
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word as the model reads it, lower-cased if the task asks for it.
    pub text: String,
    /// First character in the raw text, counted in characters.
    pub start: usize,
    /// One past the last character in the raw text, counted in characters.
    pub end: usize,
}

/// Whether Python's `str.split` cuts at `c`: Unicode's white space and U+001C..=U+001F.
pub fn is_whitespace(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The words of `text` as Python's `str.split()` gives them, with character offsets.
pub fn split_whitespace(text: &str) -> Vec<Word> {
    WordSplitting::default().split(text)
}

impl WordSplitting {
    /// The words of `text`. Offsets always refer to `text` itself, whatever is lower-cased.
    pub fn split(self, text: &str) -> Vec<Word> {
        if self.rule == WordRule::Unicode {
            return self.split_unicode(text);
        }
        let chars: Vec<char> = text.chars().collect();
        let mut words = Vec::new();
        let mut start = 0;
        while start < chars.len() {
            let mut end = start + 1;
            if !is_whitespace(chars[start]) {
                while end < chars.len() && !self.cuts(&chars, start, end) {
                    end += 1;
                }
                words.push(self.word(&chars, start..end));
            }
            start = end;
        }
        words
    }

    fn split_unicode(self, text: &str) -> Vec<Word> {
        let mut words = Vec::new();
        let mut start = 0;
        for segment in text.split_word_bounds() {
            let end = start + segment.chars().count();
            // A segment may hold white space among other characters, for instance a joiner after a space.
            let chars: Vec<char> = segment.chars().collect();
            let mut at = 0;
            for part in chars.split(|c| is_whitespace(*c)) {
                if !part.is_empty() {
                    let word = self.word(&chars, at..at + part.len());
                    words.push(Word { start: start + word.start, end: start + word.end, ..word });
                }
                at += part.len() + 1;
            }
            start = end;
        }
        words
    }

    fn word(self, chars: &[char], range: Range<usize>) -> Word {
        let text: String = chars[range.clone()].iter().collect();
        Word {
            text: if self.lowercase { text.to_lowercase() } else { text },
            start: range.start,
            end: range.end,
        }
    }

    /// Whether the word that began at `start` ends right before the character at `at`.
    fn cuts(self, chars: &[char], start: usize, at: usize) -> bool {
        if is_whitespace(chars[at]) {
            return true;
        }
        let around_mark = || stands_alone(chars, at) || stands_alone(chars, at - 1);
        match self.rule {
            WordRule::Whitespace | WordRule::Unicode => false,
            WordRule::Punctuation => around_mark(),
            WordRule::Clitics => around_mark() || opens_clitic(chars, at) || opens_half_day(chars, start, at),
        }
    }
}

impl<'de> Deserialize<'de> for WordSplitting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Forms)
    }
}

/// Reads the two forms of [`WordSplitting`].
struct Forms;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Table {
    rule: WordRule,
    lowercase: bool,
}

impl<'de> Visitor<'de> for Forms {
    type Value = WordSplitting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = WordRule::ALL.map(|rule| format!("\"{}\"", rule.name())).join(", ");
        write!(f, "one of {names}, or a table such as {{ rule = \"punctuation\", lowercase = true }}")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<WordSplitting, E> {
        let rule = WordRule::ALL.into_iter().find(|rule| rule.name() == name);
        let rule = rule
            .ok_or_else(|| E::unknown_variant(name, &["whitespace", "punctuation", "clitics", "unicode"]))?;
        Ok(WordSplitting { rule, lowercase: false })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WordSplitting, A::Error> {
        let Table { rule, lowercase } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(WordSplitting { rule, lowercase })
    }
}

/// Whether `c` is a mark that may be a word of its own: punctuation (but for `_`), currency and mathematical signs of all scripts,
/// and the other symbols of Latin-1. Letters, digits, combining marks and pictographs are not.
fn is_mark(c: char) -> bool {
    use GeneralCategory as Category;
    match c.general_category() {
        Category::ConnectorPunctuation => c != '_',
        Category::DashPunctuation
        | Category::OpenPunctuation
        | Category::ClosePunctuation
        | Category::InitialPunctuation
        | Category::FinalPunctuation
        | Category::OtherPunctuation
        | Category::CurrencySymbol
        | Category::MathSymbol => true,
        Category::ModifierSymbol | Category::OtherSymbol => c <= '\u{bf}',
        _ => false,
    }
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}

/// Whether the character at `at` is a mark that nothing ties to both its neighbours.
fn stands_alone(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    let both =
        |is: fn(char) -> bool| at > 0 && is(chars[at - 1]) && chars.get(at + 1).is_some_and(|next| is(*next));
    let tied = match c {
        '.' | '\'' | '\u{2019}' => both(char::is_alphabetic) || both(char::is_numeric),
        ',' | ';' => both(char::is_numeric),
        _ => false,
    };
    is_mark(c) && !tied
}

fn ends_word(chars: &[char], at: usize) -> bool {
    at >= chars.len() || is_whitespace(chars[at]) || stands_alone(chars, at)
}

/// Whether a final `'s` after a letter begins at `at`.
fn opens_clitic(chars: &[char], at: usize) -> bool {
    is_apostrophe(chars[at])
        && chars[at - 1].is_alphabetic()
        && matches!(chars.get(at + 1), Some('s' | 'S'))
        && ends_word(chars, at + 2)
}

/// Whether the word so far is a number and a final `am` or `pm` begins at `at`.
fn opens_half_day(chars: &[char], start: usize, at: usize) -> bool {
    chars[start..at].iter().all(char::is_ascii_digit)
        && matches!(chars[at], 'a' | 'A' | 'p' | 'P')
        && matches!(chars.get(at + 1), Some('m' | 'M'))
        && ends_word(chars, at + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(rule: WordRule, text: &str) -> Vec<String> {
        let splitting = WordSplitting { rule, lowercase: false };
        splitting.split(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn white_space_is_pythons() {
        let text =
            "\u{1c}a\u{a0}b\u{3000}c\u{2028}d\u{1680}e\u{b}f\u{1f}g\u{85}h\u{200b}i\u{2060}j\u{feff}k ";
        let words = texts(WordRule::Whitespace, text);
        assert_eq!(words, ["a", "b", "c", "d", "e", "f", "g", "h\u{200b}i\u{2060}j\u{feff}k"]);
        assert!(split_whitespace(" \t\u{1d} ").is_empty());
    }

    #[test]
    fn marks_are_words_unless_tied_on_both_sides() {
        let words = texts(WordRule::Punctuation, "What's up at 7:30 a.m., (1,000 e-mails)?");
        assert_eq!(words.join(" "), "What's up at 7 : 30 a.m . , ( 1,000 e - mails ) ?");
        assert_eq!(
            texts(WordRule::Punctuation, "the 80's, 5:00,5:10").join(" "),
            "the 80 ' s , 5 : 00,5 : 10"
        );
    }

    #[test]
    fn currency_signs_and_punctuation_of_all_scripts_are_words() {
        let words =
            texts(WordRule::Punctuation, "$450 €75 ₹9 £1,000 ±3 «oui» ¿qué? 你好。 سلام، a_b x² naïve 5°");
        assert_eq!(
            words.join(" "),
            "$ 450 € 75 ₹ 9 £ 1,000 ± 3 « oui » ¿ qué ? 你好 。 سلام ، a_b x² naïve 5 °"
        );
        // Pictographs stay whole, joiners and skin tones included.
        assert_eq!(texts(WordRule::Punctuation, "love💔 👩🏽‍🚀!").join(" "), "love💔 👩🏽‍🚀 !");
    }

    #[test]
    fn unicode_words_are_those_of_uax_29() {
        let words = texts(WordRule::Unicode, "What's up at 3.14, \u{200d} $450 (e-mail)?");
        assert_eq!(words.join(" "), "What's up at 3.14 , \u{200d} $ 450 ( e - mail ) ?");
    }

    #[test]
    fn a_rule_is_read_by_name_or_as_a_table() {
        let read = |text: &str| toml::from_str::<std::collections::BTreeMap<String, WordSplitting>>(text);
        let named = read("words = 'punctuation'").unwrap()["words"];
        assert_eq!(named, WordSplitting { rule: WordRule::Punctuation, lowercase: false });
        let table = read("words = { rule = 'clitics', lowercase = true }").unwrap()["words"];
        assert_eq!(table, WordSplitting { rule: WordRule::Clitics, lowercase: true });
        for (text, message) in [
            (
                "words = 3",
                "expected one of \"whitespace\", \"punctuation\", \"clitics\", \"unicode\", or a table such as",
            ),
            ("words = 'words'", "expected one of `whitespace`, `punctuation`, `clitics`, `unicode`"),
            ("words = { rules = 'x' }", "unknown field `rules`, expected `rule` or `lowercase`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(json, r#"{"rule":"clitics","lowercase":true}"#);
        assert_eq!(serde_json::from_str::<WordSplitting>(&json).unwrap(), table);
    }

    #[test]
    fn clitics_are_only_a_final_s_and_half_days() {
        let words = texts(WordRule::Clitics, "What's Lisa\u{2019}s o'clock at 7pm, I'm 6.00pm 29th 10ams");
        assert_eq!(words.join(" "), "What 's Lisa \u{2019}s o'clock at 7 pm , I'm 6.00pm 29th 10ams");
    }

    #[test]
    fn offsets_refer_to_the_raw_text_when_lower_casing_changes_lengths() {
        let splitting = WordSplitting { rule: WordRule::Punctuation, lowercase: true };
        let words = splitting.split("\u{130}zmir, NOW");
        assert_eq!(words[0], Word { text: "i\u{307}zmir".into(), start: 0, end: 5 });
        assert_eq!((words[2].text.as_str(), words[2].start, words[2].end), ("now", 7, 10));
    }

    proptest! {
        #[test]
        fn words_are_the_texts_slices_and_lose_only_white_space(text in "(?s)[ a-zA-Z0-9.,';:\u{2019}\u{a0}\u{1c}\u{e9}\u{1F600}]{0,40}|.{0,40}") {
            let chars: Vec<char> = text.chars().collect();
            for rule in WordRule::ALL {
                let words = WordSplitting { rule, lowercase: false }.split(&text);
                let mut covered = 0;
                for word in &words {
                    prop_assert_eq!(&word.text, &chars[word.start..word.end].iter().collect::<String>());
                    prop_assert!(chars[covered..word.start].iter().all(|c| is_whitespace(*c)));
                    prop_assert!(word.start < word.end && !word.text.chars().any(is_whitespace));
                    covered = word.end;
                }
                prop_assert!(chars[covered..].iter().all(|c| is_whitespace(*c)));
            }
        }
    }
}
