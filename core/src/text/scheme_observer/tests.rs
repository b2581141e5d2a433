//! Every scheme, written and read back.

use proptest::prelude::*;

use super::*;
use crate::text::scheme::Converted;
use crate::text::spans::{Span, SpanMode, bio_to_spans};

fn recognize(sentences: &[&[&str]]) -> Result<Recognized, SchemeError> {
    let mut observer = SchemeObserver::default();
    let mut first = 1;
    for tags in sentences {
        observer.observe(tags, |index| first + index);
        first += tags.len() + 1;
    }
    observer.recognize(None, None)
}

fn bio(tags: &[&str]) -> String {
    recognize(&[tags]).unwrap().convert(tags).unwrap().tags.join(" ")
}

fn scheme(tags: &[&str]) -> Scheme {
    recognize(&[tags]).unwrap().scheme
}

#[test]
fn each_scheme_is_recognized_and_converted() {
    for (tags, want, converted) in [
        ("B-x I-x O B-y", Scheme::Bio, "B-x I-x O B-y"),
        ("O I-x I-x B-x I-y", Scheme::Iob1, "O B-x I-x B-x B-y"),
        ("I-x I-x O I-y", Scheme::Io, "B-x I-x O B-y"),
        ("person-actor person-actor O art", Scheme::Io, "B-person-actor I-person-actor O B-art"),
        ("S-x O B-y I-y E-y S-y", Scheme::Iobes, "B-x O B-y I-y I-y B-y"),
        ("U-x O B-y I-y L-y U-y", Scheme::Bilou, "B-x O B-y I-y I-y B-y"),
        ("B-x M-x E-x S-x", Scheme::Bmes, "B-x I-x I-x B-x"),
    ] {
        let tags: Vec<&str> = tags.split(' ').collect();
        assert_eq!((scheme(&tags), bio(&tags).as_str()), (want, converted), "{tags:?}");
    }
}

#[test]
fn other_spellings_of_tags_are_recognized() {
    for (tags, form) in [
        ("b-x i-x o b-y", TagForm::LowerPrefix('-')),
        ("x-B x-I O y-B", TagForm::Suffix('-')),
        ("B_x I_x O B_y", TagForm::Prefix('_')),
        ("B:x I:x O B:y", TagForm::Prefix(':')),
    ] {
        let tags: Vec<&str> = tags.split(' ').collect();
        assert_eq!(recognize(&[&tags]).unwrap().form, form);
        assert_eq!(bio(&tags), "B-x I-x O B-y");
    }
    // These are labels, not positions.
    assert_eq!(bio(&["e-mail", "e-mail", "O", "i_phone"]), "B-e-mail I-e-mail O B-i_phone");
}

#[test]
fn tags_without_a_label_get_one() {
    assert_eq!(bio(&["O", "B", "I"]), "O B-entity I-entity");
    assert_eq!(bio(&["S", "O", "B", "E"]), "B-entity O B-entity I-entity");
    let mut observer = SchemeObserver::default();
    observer.observe(&["B", "O"], |index| index);
    let recognized = observer.recognize(None, Some("gene")).unwrap();
    assert_eq!(recognized.convert(&["B", "I", "O"]).unwrap().tags, ["B-gene", "I-gene", "O"]);
}

#[test]
fn tags_that_fit_no_scheme_are_named_with_their_line() {
    for (tags, line, message) in [
        ("B-x I-x x", 3, "tag `x` fits no scheme together with tags such as `B-label`"),
        ("S-x B-x L-x", 3, "tag `L-x` fits no scheme together with `B-`, `S-` in the same file"),
        ("x-B x-I O y", 4, "tag `y` fits no scheme together with tags such as `label-B`"),
        ("NNP VBD", 1, "tag `NNP` begins no span in any scheme, and no tag of the file is `O`"),
        ("O B-", 2, "the label of `B-` is empty"),
    ] {
        let error = recognize(&[&tags.split(' ').collect::<Vec<_>>()]).unwrap_err();
        assert_eq!(error.line(), line);
        assert_eq!(error.to_string().lines().next().unwrap(), message);
    }
}

#[test]
fn a_scheme_that_is_asked_for_is_held_to() {
    let mut observer = SchemeObserver::default();
    observer.observe(&["O", "B-x", "E-x"], |index| index + 1);
    let error = observer.recognize(Some(Scheme::Bio), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tag `E-x` is not one of scheme `bio`, whose tags are `O` and `B-label`, `I-label`"
    );
    assert_eq!(error.line(), 3);
    // Every tag is a label, whatever it looks like.
    let recognized = observer.recognize(Some(Scheme::Io), None).unwrap();
    assert_eq!(recognized.convert(&["B-x", "B-x", "E-x"]).unwrap().tags, ["B-B-x", "I-B-x", "B-E-x"]);
}

#[test]
fn tags_out_of_sequence_are_counted() {
    let convert = |tags: &[&str]| {
        let Converted { tags, repaired, .. } = recognize(&[tags]).unwrap().convert(tags).unwrap();
        (tags.join(" "), repaired)
    };
    assert_eq!(convert(&["B-x", "I-y", "O", "B-x"]), ("B-x B-y O B-x".to_owned(), 1));
    assert_eq!(convert(&["B-x", "O", "I-x", "E-x", "E-x"]), ("B-x O B-x I-x B-x".to_owned(), 3));
    assert_eq!(convert(&["I-x", "O", "I-x"]), ("B-x O B-x".to_owned(), 0));
}

/// Spans of a sentence in order, without overlap.
fn sentence() -> impl Strategy<Value = (Vec<Span>, usize)> {
    prop::collection::vec((0..3usize, 1..4usize, "[A-Z][a-z]{2,4}|x|y"), 0..6).prop_map(|runs| {
        let mut at = 0;
        let mut spans = Vec::new();
        for (gap, length, label) in runs {
            spans.push(Span { start: at + gap, end: at + gap + length, label });
            at += gap + length;
        }
        // The last word is in no span.
        (spans, at + 1)
    })
}

/// What IO can tell apart: adjacent spans of one label are one.
fn merged(spans: &[Span]) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.end == span.start && last.label == span.label => last.end = span.end,
            _ => merged.push(span.clone()),
        }
    }
    merged
}

proptest! {
    #[test]
    fn spans_survive_every_pair_of_schemes((spans, words) in sentence()) {
        for scheme in Scheme::ALL {
            let tags = scheme.tags(&spans, words).unwrap();
            let mut observer = SchemeObserver::default();
            observer.observe(&tags, |index| index + 1);
            let want = if scheme == Scheme::Io { merged(&spans) } else { spans.clone() };
            // Recognized, or asked for: the spans are the same.
            for asked in [None, Some(scheme)] {
                let recognized = observer.recognize(asked, None).unwrap();
                let converted = recognized.convert(&tags).unwrap();
                prop_assert_eq!(converted.repaired, 0);
                let read = bio_to_spans(&converted.tags, SpanMode::StrictIob2);
                prop_assert_eq!(&read, &want, "{} from {:?}", scheme, tags);
                for other in Scheme::ALL {
                    let again = other.tags(&read, words).unwrap();
                    let form = if other == Scheme::Io { TagForm::Bare } else { TagForm::USUAL };
                    let back = Recognized { scheme: other, form, label: None }.convert(&again).unwrap();
                    let want = if other == Scheme::Io { merged(&read) } else { read.clone() };
                    prop_assert_eq!(bio_to_spans(&back.tags, SpanMode::StrictIob2), want);
                }
            }
        }
    }

    #[test]
    fn no_tags_make_recognition_panic(sentences in prop::collection::vec(prop::collection::vec("[BIOESLUMbio]?[-_:]?[xyB]?|.{0,3}", 0..5), 0..5)) {
        let mut observer = SchemeObserver::default();
        for tags in &sentences {
            observer.observe(tags, |index| index);
        }
        for asked in std::iter::once(None).chain(Scheme::ALL.map(Some)) {
            let Ok(recognized) = observer.recognize(asked, None) else { continue };
            for tags in &sentences {
                let converted = recognized.convert(tags).expect("what was recognized fits");
                prop_assert_eq!(converted.tags.len(), tags.len());
            }
        }
    }
}
