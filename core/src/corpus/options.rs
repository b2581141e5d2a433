//! Settings of the readers.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::scheme::Scheme;

/// How a file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Names of JSON fields and table columns.
    pub fields: Fields,
    /// Roles of columns; by default those of the layout.
    pub columns: Option<Columns>,
    /// The unit of the offsets of spans.
    pub offsets: OffsetUnit,
    /// The tags that integer tags stand for, from 0 on.
    pub tag_names: Vec<String>,
    /// The scheme of the tags; recognized where absent.
    pub scheme: Option<Scheme>,
    /// The label of tags without one (`B`, `I`, `O`).
    pub label: Option<String>,
    /// The policy for spans that overlap.
    pub overlap: Overlap,
    /// The policy for spans that begin or end inside a word.
    pub alignment: SpanAlignment,
    /// The byte between the cells of CSV; a comma where absent, or what a header without a comma has instead.
    pub separator: Option<u8>,
    /// Whether records are read to be tagged. Their annotation is not read: it stays among the fields, and a fault in it is none of
    /// the record. Files without annotation are read, and columns of words are kept.
    pub to_tag: bool,
}

/// Names of JSON fields and of table columns, where they are not the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// The text; `text` or `data` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The words: `tokens` or `words` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// The tags of the words: `tags`, `ner_tags` or `labels` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// The spans of the text: `spans`, `label`, `labels`, `entities`, `ents` or `annotations` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<String>,
    /// In tables of one word per row, the column that numbers the sentences: `sentence`, `sentence_id` or `Sentence #` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence: Option<String>,
}

/// The unit of offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetUnit {
    /// Characters (Unicode code points), as Python does.
    #[default]
    Chars,
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16, as JavaScript and Java do: an emoji counts two.
    Utf16,
}

impl OffsetUnit {
    /// All units.
    pub const ALL: [Self; 3] = [Self::Chars, Self::Bytes, Self::Utf16];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chars => "chars",
            Self::Bytes => "bytes",
            Self::Utf16 => "utf16",
        }
    }

    /// In words, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Self::Chars => "characters",
            Self::Bytes => "bytes",
            Self::Utf16 => "UTF-16 units",
        }
    }
}

/// What to do with spans that overlap. A span that occurs twice is always read once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Stop with an error.
    #[default]
    Error,
    /// Keep the longest spans; of equally long ones the first.
    Longest,
    /// Keep the spans that begin first; of those that begin together the longest.
    First,
}

/// The policy for spans that begin or end inside a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanAlignment {
    /// Widen them to whole words, and count them.
    #[default]
    Expand,
    /// Stop with an error.
    Error,
}

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Word of the sentence.
    Word,
    /// Its tag.
    Tag,
    /// A number of the word in its sentence, which is skipped.
    Index,
    /// In tables: the number or name of the sentence.
    Sentence,
    /// Skipped.
    #[serde(rename = "_")]
    Skip,
    /// Any number of skipped columns.
    #[serde(rename = "*")]
    Rest,
}

const ROLES: &[&str] = &["word", "tag", "index", "sentence", "_", "*"];

/// The roles of all columns, from left to right: one `word`, at most one `tag` and at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(Vec<Role>);

impl Columns {
    /// Checks `roles`.
    ///
    /// # Errors
    /// In words, if there is no `word`, or more than one `word`, `tag`, `sentence` or `*`.
    pub fn new(roles: Vec<Role>) -> Result<Self, String> {
        let count = |role| roles.iter().filter(|r| **r == role).count();
        if count(Role::Word) != 1
            || [Role::Tag, Role::Rest, Role::Sentence].into_iter().any(|role| count(role) > 1)
        {
            return Err("columns need one \"word\", and at most one \"tag\", one \"sentence\" and one \"*\""
                .to_owned());
        }
        Ok(Self(roles))
    }

    /// Reads `index,word,tag,_`.
    ///
    /// # Errors
    /// In words, if a role is unknown, or as [`Columns::new`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let role = |name: &str| {
            let name = name.trim();
            let place = ROLES.iter().position(|known| *known == name);
            place.map(|place| ALL_ROLES[place]).ok_or_else(|| {
                let known = ROLES.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
                format!("unknown column role `{name}`; known are {known}")
            })
        };
        Self::new(text.split(',').map(role).collect::<Result<_, _>>()?)
    }

    /// Places of a role among `width` columns, from 0 on; `None` if `width` columns do not fit.
    pub(super) fn place(&self, wanted: Role, width: usize) -> Option<Option<usize>> {
        let rest = self.0.iter().position(|role| *role == Role::Rest);
        match rest {
            None if self.0.len() != width => return None,
            Some(_) if width + 1 < self.0.len() => return None,
            _ => {}
        }
        let place = self.0.iter().position(|role| *role == wanted);
        Some(place.map(|place| match rest {
            Some(rest) if place > rest => width - (self.0.len() - place),
            _ => place,
        }))
    }

    /// Whether one column is the tag.
    pub(super) fn tagged(&self) -> bool {
        self.0.contains(&Role::Tag)
    }
}

const ALL_ROLES: [Role; 6] = [Role::Word, Role::Tag, Role::Index, Role::Sentence, Role::Skip, Role::Rest];

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |role: &Role| {
            let place = ALL_ROLES.iter().position(|known| known == role).unwrap_or_default();
            format!("\"{}\"", ROLES[place])
        };
        write!(f, "[{}]", self.0.iter().map(name).collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for Columns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Roles;
        impl<'de> Visitor<'de> for Roles {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the roles of the columns from left to right, for instance [\"index\", \"word\", \"tag\", \"_\"]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Columns, A::Error> {
                let mut roles = Vec::new();
                while let Some(role) = sequence.next_element()? {
                    roles.push(role);
                }
                Columns::new(roles).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Roles)
    }
}
