//! Recognition of a file's tag scheme from all of its tags.

use std::collections::{BTreeMap, BTreeSet};

use super::scheme::{Recognized, Scheme};
use super::scheme_form::TagForm;
use super::spans::Bio;

/// The label of tags without one, unless another is given.
pub const UNTYPED_LABEL: &str = "entity";

/// Bare tags of a file that is IO are labels, which are few.
const MOST_LABELS: usize = 1000;

/// Tags that fit no scheme, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum SchemeError {
    /// A tag ends where its label should begin.
    #[error("the label of `{tag}` is empty")]
    EmptyLabel {
        tag: String,
        /// Line of its first occurrence.
        line: usize,
    },
    /// A tag that the other tags of the file do not allow.
    #[error(
        "tag `{tag}` fits no scheme together with {others}\n\
         hint: known schemes are `bio`, `iob1`, `io`, `iobes`, `bilou` and `bmes`; `scheme = \"io\"` takes every tag as a label"
    )]
    Misfit {
        tag: String,
        /// Line of its first occurrence.
        line: usize,
        /// The other tags of the file, in words.
        others: String,
    },
    /// Tags that can be no labels of IO either.
    #[error(
        "tag `{tag}` begins no span in any scheme, and {reason}\n\
         hint: the tag may be in another column; `scheme = \"io\"` takes every tag as a label"
    )]
    NoScheme {
        tag: String,
        /// Line of its first occurrence.
        line: usize,
        /// Why the tags are not taken as labels.
        reason: String,
    },
    /// A tag that is not one of the scheme that was asked for.
    #[error("tag `{tag}` is not one of scheme `{scheme}`, whose tags are `O` and {forms}")]
    Other {
        tag: String,
        /// Line of its first occurrence.
        line: usize,
        /// The requested value.
        scheme: Scheme,
        /// Its tags, in words.
        forms: String,
    },
}

impl SchemeError {
    /// Line of the tag.
    pub fn line(&self) -> usize {
        match self {
            Self::EmptyLabel { line, .. }
            | Self::Misfit { line, .. }
            | Self::NoScheme { line, .. }
            | Self::Other { line, .. } => *line,
        }
    }
}

/// Collects the tags of a file.
#[derive(Debug, Clone, Default)]
pub struct SchemeObserver {
    /// Line of the first occurrence of each tag other than `O`.
    tags: BTreeMap<String, usize>,
    /// `O` tags.
    outside: usize,
    /// `I-x` after another tag than `B-x` or `I-x`.
    opening_inside: usize,
    /// `B-x` after another tag than `B-x` or `I-x`.
    opening_begin: usize,
}

impl SchemeObserver {
    /// Takes note of one sentence's tags; `line` gives the line of a tag by its index.
    pub fn observe<T: AsRef<str>>(&mut self, tags: &[T], line: impl Fn(usize) -> usize) {
        let mut before: Option<&str> = None;
        for (index, tag) in tags.iter().map(AsRef::as_ref).enumerate() {
            let bio = Bio::parse(tag);
            let label = bio.and_then(Bio::label);
            if label.is_some() && label != before {
                self.opening_inside += usize::from(matches!(bio, Some(Bio::Inside(_))));
                self.opening_begin += usize::from(matches!(bio, Some(Bio::Begin(_))));
            }
            before = label;
            self.outside += usize::from(tag == "O");
            if tag != "O" && !self.tags.contains_key(tag) {
                self.tags.insert(tag.to_owned(), line(index));
            }
        }
    }

    /// The different tags other than `O`, and the line of the first occurrence of each.
    pub fn tags(&self) -> impl Iterator<Item = (&str, usize)> {
        self.tags.iter().map(|(tag, line)| (tag.as_str(), *line))
    }

    /// The scheme of all tags that were observed. `scheme` is the one asked for, `label` that of tags without one
    /// ([`UNTYPED_LABEL`] where absent).
    ///
    /// # Errors
    /// If a tag fits no scheme, or not the one asked for.
    pub fn recognize(&self, scheme: Option<Scheme>, label: Option<&str>) -> Result<Recognized, SchemeError> {
        if let Some((tag, line)) =
            self.first(|tag| matches!(tag, "" | "B-" | "I-" | "E-" | "S-" | "L-" | "U-"))
        {
            return Err(SchemeError::EmptyLabel { tag: tag.to_owned(), line });
        }
        let form = match scheme {
            Some(Scheme::Io) if !self.all(TagForm::USUAL, "I") => TagForm::Bare,
            _ => self.form()?,
        };
        let recognized = |scheme| {
            let label = (form == TagForm::Untyped).then(|| label.unwrap_or(UNTYPED_LABEL).to_owned());
            Recognized { scheme, form, label }
        };
        let letters: BTreeSet<char> = self.tags.keys().filter_map(|tag| form.letter(tag)).collect();
        let Some(wanted) = scheme else { return Ok(recognized(self.scheme(form, &letters)?)) };
        let strange = |tag: &str| {
            let outside = form.is_outside(tag);
            let fits = form.letter(tag).is_some_and(|letter| wanted.letters().contains(letter));
            !(outside || fits || wanted == Scheme::Io && form == TagForm::Bare)
        };
        match self.first(strange) {
            None => Ok(recognized(wanted)),
            Some((tag, line)) => {
                Err(SchemeError::Other { tag: tag.to_owned(), line, scheme: wanted, forms: forms(wanted) })
            }
        }
    }

    /// How the tags are written.
    fn form(&self) -> Result<TagForm, SchemeError> {
        if self.all(TagForm::USUAL, "BIESLUM") {
            return Ok(TagForm::USUAL);
        }
        if self.all(TagForm::Untyped, "BIESLUM") {
            return Ok(TagForm::Untyped);
        }
        // Labels may look like `e-mail` or `i_phone`: an unusual form must show the letter of a beginning.
        let begins =
            |form: &TagForm| self.tags.keys().any(|tag| matches!(form.letter(tag), Some('B' | 'S' | 'U')));
        let unusual = TagForm::UNUSUAL.into_iter().filter(begins);
        if let Some(form) = unusual.clone().find(|form| self.all(*form, "BIESLUM")) {
            return Ok(form);
        }
        let candidates = std::iter::once(TagForm::USUAL)
            .filter(|form| self.tags.keys().any(|tag| matches!(form.letter(tag), Some('B' | 'I'))))
            .chain(unusual.filter(|form| self.pairs(*form)));
        for form in candidates {
            if let Some((tag, line)) = self.first(|tag| !form.is_outside(tag) && form.split(tag).is_none()) {
                let others = format!("tags such as `{}`", form.example());
                return Err(SchemeError::Misfit { tag: tag.to_owned(), line, others });
            }
        }
        let reason = match self.tags.len() {
            _ if self.outside == 0 => "no tag of the file is `O`".to_owned(),
            MOST_LABELS.. => format!("{} different tags are too many for labels", self.tags.len()),
            _ => return Ok(TagForm::Bare),
        };
        let (tag, line) = self.first(|_| true).unwrap_or_default();
        Err(SchemeError::NoScheme { tag: tag.to_owned(), line, reason })
    }

    /// The scheme that has all `letters`.
    fn scheme(&self, form: TagForm, letters: &BTreeSet<char>) -> Result<Scheme, SchemeError> {
        if form == TagForm::Bare {
            return Ok(Scheme::Io);
        }
        if letters.iter().eq(&['I']) {
            return Ok(Scheme::Io);
        }
        if letters.iter().all(|letter| "BI".contains(*letter)) {
            let iob1 = form == TagForm::USUAL && self.opening_inside > 0 && self.opening_begin == 0;
            return Ok(if iob1 { Scheme::Iob1 } else { Scheme::Bio });
        }
        let fits = |scheme: &Scheme| letters.iter().all(|letter| scheme.letters().contains(*letter));
        if let Some(scheme) = [Scheme::Iobes, Scheme::Bilou, Scheme::Bmes].into_iter().find(fits) {
            return Ok(scheme);
        }
        let ours = if letters.contains(&'E') || letters.contains(&'S') { "BIES" } else { "BIL" };
        let (tag, line) = self
            .first(|tag| form.letter(tag).is_some_and(|letter| !ours.contains(letter)))
            .unwrap_or_default();
        let others = ours.chars().filter(|letter| letters.contains(letter));
        let others = others.map(|letter| format!("`{letter}-`")).collect::<Vec<_>>().join(", ");
        Err(SchemeError::Misfit { tag: tag.to_owned(), line, others: format!("{others} in the same file") })
    }

    /// Whether all tags are written in `form` with one of `letters`.
    fn all(&self, form: TagForm, letters: &str) -> bool {
        let fits = |tag: &String| {
            form.is_outside(tag) || form.letter(tag).is_some_and(|letter| letters.contains(letter))
        };
        self.tags.keys().all(fits)
    }

    /// Whether some label occurs both with the letter of a beginning and with `I` in `form`.
    fn pairs(&self, form: TagForm) -> bool {
        let labels = |wanted: char| -> BTreeSet<&str> {
            let parts = self.tags.keys().filter_map(|tag| form.split(tag));
            parts.filter(|(letter, _)| *letter == wanted).map(|(_, label)| label).collect()
        };
        !labels('B').is_disjoint(&labels('I'))
    }

    /// The first tag in the file that satisfies `wanted`, and its line.
    fn first(&self, wanted: impl Fn(&str) -> bool) -> Option<(&str, usize)> {
        self.tags().filter(|(tag, _)| wanted(tag)).min_by_key(|(_, line)| *line)
    }
}

fn forms(scheme: Scheme) -> String {
    let letters: Vec<String> = scheme.letters().chars().map(|letter| format!("`{letter}-label`")).collect();
    letters.join(", ")
}

#[cfg(test)]
mod tests;
