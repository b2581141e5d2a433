//! How tags are written: where the letter of the position stands, and what separates it from the label.

use serde::{Deserialize, Serialize};

/// Where a word stands in its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// In no span.
    Outside,
    /// First word.
    Begin,
    /// Further word; with IOB1 and IO also a first one.
    Inside,
    /// Last of several words.
    End,
    /// The only word.
    Single,
}

impl Position {
    /// The position that a letter of any scheme stands for.
    pub(super) fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'B' => Self::Begin,
            'I' | 'M' => Self::Inside,
            'E' | 'L' => Self::End,
            'S' | 'U' => Self::Single,
            _ => return None,
        })
    }
}

/// A tag's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Where the word stands.
    pub position: Position,
    /// The label; empty outside of spans.
    pub label: &'a str,
}

/// How the tags of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagForm {
    /// `B-x`.
    Prefix(char),
    /// `b-x`, and `o` or `O`.
    LowerPrefix(char),
    /// `x-B`.
    Suffix(char),
    /// `B`, `I`, `O`: there is only one label, which the file does not name.
    Untyped,
    /// `x`: the label alone.
    Bare,
}

impl TagForm {
    /// The usual form, `B-x`.
    pub const USUAL: Self = Self::Prefix('-');

    /// Forms other than the usual one that spell out position and label, the likelier ones first.
    pub(super) const UNUSUAL: [Self; 6] = [
        Self::LowerPrefix('-'),
        Self::Suffix('-'),
        Self::Prefix('_'),
        Self::Suffix('_'),
        Self::LowerPrefix('_'),
        Self::Prefix(':'),
    ];

    /// An example, for messages.
    pub fn example(self) -> String {
        match self {
            Self::Prefix(separator) => format!("B{separator}label"),
            Self::LowerPrefix(separator) => format!("b{separator}label"),
            Self::Suffix(separator) => format!("label{separator}B"),
            Self::Untyped => "B".to_owned(),
            Self::Bare => "label".to_owned(),
        }
    }

    /// Whether `tag` stands for no span.
    pub(super) fn is_outside(self, tag: &str) -> bool {
        tag == "O" || (tag == "o" && matches!(self, Self::LowerPrefix(_)))
    }

    /// The letter (in upper case) and the label of a tag in a span. `None` if the tag is not written in this form.
    pub(super) fn split(self, tag: &str) -> Option<(char, &str)> {
        let (letter, label) = match self {
            Self::Prefix(separator) | Self::LowerPrefix(separator) => {
                let mut chars = tag.chars();
                let letter = chars.next()?;
                (letter, chars.as_str().strip_prefix(separator)?)
            }
            Self::Suffix(separator) => {
                let mut chars = tag.chars();
                let letter = chars.next_back()?;
                (letter, chars.as_str().strip_suffix(separator)?)
            }
            Self::Untyped => {
                let mut chars = tag.chars();
                (chars.next()?, chars.as_str())
            }
            Self::Bare => return None,
        };
        let wants_label = self != Self::Untyped;
        let letter = match self {
            Self::LowerPrefix(_) if letter.is_ascii_lowercase() => letter.to_ascii_uppercase(),
            Self::LowerPrefix(_) => return None,
            _ => letter,
        };
        (Position::of(letter).is_some() && label.is_empty() != wants_label).then_some((letter, label))
    }

    /// The letter of a tag's position, in upper case; `None` for [`TagForm::Bare`], or if the tag is not written in this form.
    pub(super) fn letter(self, tag: &str) -> Option<char> {
        self.split(tag).map(|(letter, _)| letter)
    }

    /// A tag's parts. `label` is that of tags without one.
    pub(super) fn parse<'a>(self, tag: &'a str, label: Option<&'a str>) -> Option<Part<'a>> {
        if self.is_outside(tag) {
            return Some(Part { position: Position::Outside, label: "" });
        }
        if self == Self::Bare {
            return (!tag.is_empty()).then_some(Part { position: Position::Inside, label: tag });
        }
        let (letter, written) = self.split(tag)?;
        let label = if self == Self::Untyped { label? } else { written };
        Some(Part { position: Position::of(letter)?, label })
    }
}
