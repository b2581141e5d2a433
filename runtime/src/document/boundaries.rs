//! Where the sentences and clauses of a text end.

use hyperloader_core::text::words::{Word, is_whitespace};
use unicode_segmentation::UnicodeSegmentation;

/// What ends before a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Boundary {
    /// Only the word before.
    Word,
    /// A clause: the word before ends in a mark.
    Clause,
    /// A sentence or a paragraph.
    Sentence,
}

/// Lines of a paragraph without one of this many characters are not wrapped text, but lines that were meant.
const WRAPPED_WIDTH: usize = 40;

/// Abbreviations after which a name or a number usually follows. Capitalized ones without a vowel are known by that, too.
const ABBREVIATIONS: &[&str] = &[
    "capt", "co", "col", "corp", "dr", "fig", "gen", "gov", "inc", "lt", "ltd", "mr", "mrs", "ms", "no",
    "prof", "rep", "rev", "sen", "st", "vol", "vs",
];
/// The longest abbreviation in characters, with brackets or quotes before it.
const ABBREVIATION: usize = 12;

/// What ends before each of `words`, which lie in `text`. A sentence ends before the first word.
///
/// Sentences end where UAX 29 ends them, but for three cases. A line break that only wraps a paragraph, so that the next word had no
/// place in the line, is a space. A full stop after an abbreviation, an initial or a number ends a clause: a name may go on after
/// it (`St. Petersburg`). And UAX 29 does not end a sentence at a full stop before a lower-case letter: here one does that stands
/// apart from the word before, as in a corpus of tokens, or is in a text without capital letters.
pub(super) fn boundaries(text: &str, words: &[Word]) -> Vec<Boundary> {
    let chars: Vec<char> = unwrapped(text);
    let has_case = chars.iter().any(|c| c.is_uppercase());
    let mut found: Vec<Boundary> = std::iter::once(Boundary::Sentence)
        .chain(words.windows(2).map(|pair| between(&chars, pair, has_case)))
        .collect();
    found.truncate(words.len());
    let text: String = chars.iter().collect();
    let (mut end, mut next) = (0, 0);
    for sentence in text.split_sentence_bounds() {
        end += sentence.chars().count();
        next += words[next..].iter().take_while(|word| word.start < end).count();
        let Some([before, _]) = next.checked_sub(1).and_then(|at| words.get(at..=next)) else { continue };
        // No word is cut.
        if before.end <= end && !goes_on(&chars[..before.end], has_case) {
            found[next] = Boundary::Sentence;
        }
    }
    found
}

/// What ends between two words, apart from what UAX 29 says.
fn between(chars: &[char], words: &[Word], has_case: bool) -> Boundary {
    let (before, after) = (&words[0], &words[1]);
    let gap = &chars[before.end..after.start];
    let is_apart = || before.end < 2 || is_whitespace(chars[before.end - 2]);
    let stops = |c| c == '.' && !gap.is_empty() && (is_apart() || !has_case);
    match before.end.checked_sub(1).and_then(|last| chars.get(last)) {
        _ if gap.iter().any(|c| is_line_break(*c)) => Boundary::Sentence,
        Some(c) if stops(*c) && !goes_on(&chars[..before.end], has_case) => Boundary::Sentence,
        Some(',' | ';' | ':' | '.' | '!' | '?' | '\u{2026}' | '\u{2013}' | '\u{2014}' | ')') => {
            Boundary::Clause
        }
        Some('\u{3001}' | '\u{3002}' | '\u{ff0c}' | '\u{ff1b}' | '\u{ff1a}' | '\u{60c}' | '\u{61b}') => {
            Boundary::Clause
        }
        _ => Boundary::Word,
    }
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The characters of `text` with spaces for line breaks that only wrap a paragraph: those before a word that would have made the
/// line longer than the paragraph's longest.
fn unwrapped(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<std::ops::Range<usize>> = vec![];
    let mut start = 0;
    for line in text.split('\n') {
        let length = line.chars().count();
        lines.push(start..start + length);
        start += length + 1;
    }
    let is_blank = |line: &std::ops::Range<usize>| chars[line.clone()].iter().all(|c| is_whitespace(*c));
    let mut breaks = vec![];
    for paragraph in lines.split(is_blank) {
        let written = |line: &std::ops::Range<usize>| {
            let blank = chars[line.clone()].iter().rev().take_while(|c| is_whitespace(**c)).count();
            line.len() - blank
        };
        let longest = paragraph.iter().map(written).max().unwrap_or(0);
        for pair in paragraph.windows(2).filter(|_| longest >= WRAPPED_WIDTH) {
            let words = chars[pair[1].clone()].split(|c| is_whitespace(*c));
            let first = words.map(<[char]>::len).find(|length| *length > 0).unwrap_or(0);
            if written(&pair[0]) + 1 + first > longest {
                breaks.push(pair[0].end);
            }
        }
    }
    for at in breaks {
        chars[at] = ' ';
        if at > 0 && chars[at - 1] == '\r' {
            chars[at - 1] = ' ';
        }
    }
    chars
}

/// Whether the last token of `chars` ends in a full stop that may be inside a name, a date or a number. Abbreviations are capitalized
/// unless the text has no capitals at all.
fn goes_on(chars: &[char], has_case: bool) -> bool {
    let Some(('.', chars)) = chars.split_last().map(|(last, before)| (*last, before)) else { return false };
    let near = &chars[chars.len().saturating_sub(ABBREVIATION)..];
    let start = match near.iter().rposition(|c| is_whitespace(*c)) {
        Some(blank) => blank + 1,
        None if near.len() == chars.len() => 0,
        None => return false,
    };
    let opening = near[start..].iter().take_while(|c| !c.is_alphanumeric()).count();
    let stem: String = near[start + opening..].iter().collect();
    let vowel = |c: char| "aeiouy\u{e4}\u{f6}\u{fc}".contains(c);
    let mut letters = stem.chars();
    let is_capitalized = letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase);
    let stem = stem.to_lowercase();
    match stem.chars().count() {
        0 => false,
        1 => true,
        _ if stem.chars().all(char::is_numeric) => true,
        // `U.S.`, `a.m.`
        _ if stem.split('.').all(|part| part.chars().count() == 1) => true,
        2..=4 if is_capitalized && !stem.contains(vowel) => true,
        _ => (is_capitalized || !has_case) && ABBREVIATIONS.contains(&stem.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use hyperloader_core::text::words::{WordRule, WordSplitting};
    use proptest::prelude::*;

    use super::*;

    /// The text with `|` where a sentence ends and `/` where a clause ends.
    fn marked(rule: WordRule, text: &str) -> String {
        let words = WordSplitting { rule, lowercase: false }.split(text);
        let found = boundaries(text, &words);
        assert_eq!(found.len(), words.len());
        let mark = |boundary| match boundary {
            Boundary::Word => " ",
            Boundary::Clause => " / ",
            Boundary::Sentence => " | ",
        };
        let line: String = words
            .iter()
            .zip(found)
            .map(|(word, boundary)| format!("{}{}", mark(boundary), word.text))
            .collect();
        line.trim_start_matches(" | ").to_owned()
    }

    #[test]
    fn sentences_end_as_uax_29_says() {
        let text = "Call Mom, then stop! \"Is it 3.5 km?\" he said. \u{4f60}\u{597d}\u{3002}\u{4f60} End";
        assert_eq!(
            marked(WordRule::Whitespace, text),
            "Call Mom, / then stop! | \"Is it 3.5 km?\" | he said. | \u{4f60}\u{597d}\u{3002}\u{4f60} End"
        );
        assert_eq!(
            marked(WordRule::Punctuation, "Go home. Now, please: all."),
            "Go home . | Now , / please : / all ."
        );
        assert_eq!(
            marked(WordRule::Whitespace, "Set it. call me ? now. ok"),
            "Set it. / call me ? | now. / ok"
        );
        // No capital can tell, or a full stop that is a word of its own.
        assert_eq!(
            marked(WordRule::Whitespace, "set it. call mr. x at 7 a.m. ok. now"),
            "set it. | call mr. / x at 7 a.m. / ok. | now"
        );
        assert_eq!(marked(WordRule::Whitespace, "Set it . call St . Ives"), "Set it . | call St . | Ives");
    }

    #[test]
    fn full_stops_after_abbreviations_initials_and_numbers_end_no_sentence() {
        let text = "Dr. A. Moser of Acme Inc. Paris left St. Petersburg (U.S. Navy) on 5. May. Then I slept.";
        assert_eq!(
            marked(WordRule::Whitespace, text),
            "Dr. / A. / Moser of Acme Inc. / Paris left St. / Petersburg (U.S. / Navy) / on 5. / May. | Then I slept."
        );
        assert_eq!(marked(WordRule::Punctuation, "in St. Ives"), "in St . / Ives");
    }

    #[test]
    fn line_breaks_end_sentences_unless_they_wrap_a_paragraph() {
        let text = "the ship left the old harbor of the city of New\r\n\
                    York in the morning and then it came back into\nLe Havre\n\nset an alarm\ncall mom";
        assert_eq!(
            marked(WordRule::Whitespace, text),
            "the ship left the old harbor of the city of New York in the morning and then it came back into Le Havre \
             | set an alarm | call mom"
        );
        assert_eq!(marked(WordRule::Whitespace, "a\u{2029}b\u{c}c \t d"), "a | b | c d");
    }

    proptest! {
        #[test]
        fn every_word_has_a_boundary_and_no_text_panics(text in "(?s)[ a-cA-C.,!?\n\r\u{2029}\u{e9}\u{1F600}]{0,60}|.{0,60}") {
            for rule in WordRule::ALL {
                let words = WordSplitting { rule, lowercase: false }.split(&text);
                let found = boundaries(&text, &words);
                prop_assert_eq!(found.len(), words.len());
                prop_assert!(found.first().is_none_or(|first| *first == Boundary::Sentence));
            }
        }
    }
}
