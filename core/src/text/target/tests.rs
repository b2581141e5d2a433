use super::*;
use crate::text::labels::LabelSet;

fn codec() -> SentT {
    SentT::from_file("../fixtures/backbones/t5-nano/tokenizer.json").unwrap()
}

fn grammar(labels: &[&str]) -> TargetGrammar {
    TargetGrammar::new(&codec(), labels).unwrap()
}

/// A grammar of tags with these ids; its sentinels are 90, 91, ..., `<pad>` is 0 and `</s>` 80.
fn of_ids(ids: &[&[u32]]) -> TargetGrammar {
    let names = (0..ids.len()).map(|tag| format!("t{tag}")).collect();
    let ids = ids.iter().map(|ids| Arc::from(*ids)).collect();
    TargetGrammar::of_ids(Arc::new(Sentinels::new((90..100).collect())), [0, 80], names, ids)
}

#[test]
fn prefixes_lead_to_every_tag_and_a_tag_may_begin_another() {
    let codec = codec();
    let labels = LabelSet::new(["city", "city_name", "toloc.city_name"], "test").unwrap();
    let grammar = TargetGrammar::new(&codec, labels.iter()).unwrap();
    for tag in 0..grammar.tags() {
        let ids = grammar.ids(tag);
        assert_eq!(grammar.tag(ids), Some(tag));
        assert_eq!(grammar.tag_named(grammar.name(tag)), Some(tag));
        assert!((0..ids.len()).all(|length| grammar.next_of_tag(&ids[..length]).contains(&ids[length])));
    }
    let city = grammar.ids(2);
    assert!(grammar.ids(3).starts_with(city) && !grammar.next_of_tag(city).is_empty());
    assert_eq!(grammar.tag(&[]), None);
    assert!(grammar.next_of_tag(&[7, 7]).is_empty() && grammar.tags_from(&[7, 7]).is_empty());
    let target = codec.encode_target(&["O", "city_name", "I"]).unwrap();
    let vocabulary = grammar.vocabulary();
    assert!(target[..target.len() - 1].iter().all(|id| vocabulary.contains(id)));
    assert!(vocabulary.is_sorted());
}

#[test]
fn a_target_of_tags_is_that_of_their_names() {
    let grammar = grammar(&["city", "city_name"]);
    assert_eq!(
        grammar.encode(&[OUTSIDE, 3, INSIDE]),
        codec().encode_target(&["O", "city_name", "I"]).unwrap()
    );
}

#[test]
fn labels_that_a_model_cannot_write_are_refused() {
    for (label, part) in [("\u{200b}", "([])"), ("a</s>", "([3, 9, 1])"), ("<extra_id_3>", "([32096])")] {
        let error = grammar(&[label]).check().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = grammar(&["Full", "\u{ff26}ull"]).check().unwrap_err().to_string();
    assert!(error.starts_with("labels `Full` and `\u{ff26}ull` have the same ids ["), "{error}");
    assert!(grammar(&["city", "city_name"]).check().is_ok());
}

#[test]
fn the_last_sentinel_decides_the_place_in_a_target() {
    let grammar = grammar(&["city", "city_name"]);
    let target = grammar.encode(&[OUTSIDE, 3]);
    let place = |length: usize| grammar.place(&target[..length]);
    assert_eq!(place(0), Place { opened: 0, partial: &[] });
    assert_eq!(place(1), Place { opened: 1, partial: &[] });
    let o = grammar.ids(OUTSIDE).len();
    assert_eq!(place(1 + o).partial, grammar.ids(OUTSIDE));
    let (city, name) = (grammar.ids(2).len(), grammar.ids(3).len());
    let partial = grammar.place(&target[..2 + o + city]).partial;
    assert_eq!(grammar.tags_from(partial), [2, 3]);
    let partial = grammar.place(&target[..2 + o + name]).partial;
    assert_eq!(grammar.tags_from(partial), [3]);
    assert_eq!(place(target.len() - 1), Place { opened: 3, partial: &[] });
}

#[test]
fn every_id_of_a_well_formed_target_is_a_legal_next_id() {
    let grammar = grammar(&["city", "city_name"]);
    let target = grammar.encode(&[OUTSIDE, 3, INSIDE]);
    for length in 0..target.len() {
        let next = grammar.next(&target[..length], 3);
        assert!(next.contains(&target[length]) && next.is_sorted());
    }
    let after_city = [&[grammar.sentinel(0).unwrap()], grammar.ids(2)].concat();
    let next = grammar.next(&after_city, 3);
    assert!(next.contains(&grammar.sentinel(1).unwrap()) && next.len() > 1, "the tag may end or go on");
}

#[test]
fn a_target_is_in_order_as_long_as_it_can_become_well_formed() {
    let grammar = grammar(&["city_name"]);
    let target = grammar.encode(&[OUTSIDE, 2]);
    let body = &target[..target.len() - 1];
    for length in 0..=body.len() {
        assert!(grammar.in_order(&body[..length], 2));
    }
    assert!(!grammar.in_order(body, 1), "one more word");
    assert!(!grammar.in_order(&[body, grammar.ids(OUTSIDE)].concat(), 2), "a tag of no word");
    assert!(!grammar.in_order(&[body, &body[..1]].concat(), 9), "from the beginning");
    assert_eq!(grammar.next_repeated(&[]), None);
    let repeated = |length: usize| grammar.next_repeated(&[body, &grammar.ids(2)[..length]].concat());
    for (length, id) in grammar.ids(2).iter().enumerate() {
        assert_eq!(repeated(length), Some(*id), "the tag of the word before");
    }
    assert_eq!(repeated(grammar.ids(2).len()), grammar.sentinel(3));
}

#[test]
fn the_sentinels_of_a_source_are_one_more_than_its_words() {
    let codec = codec();
    for words in [vec!["a"], vec!["wake", "me", "up"]] {
        let source = codec.encode_source(&words).unwrap();
        let positions = codec.sentinels().positions(source.iter().copied());
        let indices = positions.iter().map(|&at| codec.sentinel_index(source[at]));
        assert!(indices.eq((0..=words.len()).map(Some)));
    }
}

#[test]
fn the_choices_of_the_decoder_leave_a_set_of_tags_open() {
    const SENTINEL: u32 = 90;
    // O, I, city, city_name, time
    let grammar = of_ids(&[&[1], &[2], &[3], &[3, 4, 5], &[6, 4]]);
    let open = |fed: Tag, chosen: &[u32]| grammar.sets()[grammar.chosen_set(fed, chosen)].clone();
    assert_eq!(open(0, &[1, SENTINEL]), [0]);
    assert_eq!(open(0, &[2, SENTINEL]), [1], "another tag");
    assert_eq!(open(0, &[3, SENTINEL]), [2, 3], "the first id of two tags");
    assert_eq!(open(2, &[3, SENTINEL]), [2]);
    assert_eq!(open(2, &[3, 4]), [3], "a longer tag");
    assert_eq!(open(3, &[3, SENTINEL, 5, SENTINEL]), [2], "a shorter tag");
    assert_eq!(open(3, &[3, 4, 5, SENTINEL]), [3]);
    assert_eq!(open(4, &[6, 4, 8]), [4], "whatever comes after it");
    assert_eq!(open(4, &[6, 5, SENTINEL]), [0, 1, 2, 3, 4], "no tag");
    assert_eq!(open(0, &[8, 8]), [0, 1, 2, 3, 4], "no tag");
    assert_eq!(open(0, &[]), [0, 1, 2, 3, 4], "no choice");
}

#[test]
fn written_tags_are_known_by_index_and_other_text_is_kept() {
    let codec = codec();
    let grammar = grammar(&["city", "city_name"]);
    for alignment in [Alignment::Order, Alignment::Sentinel] {
        let decode = |names: &[&str]| {
            grammar.decode(&codec, &codec.encode_target(names).unwrap(), 3, alignment).unwrap()
        };
        let tag = Written::Tag;
        assert_eq!(decode(&["O", "city_name", "I"]), [tag(0), tag(3), tag(1)]);
        assert_eq!(decode(&["city", "place"]), [tag(2), Written::Unknown("place".into()), tag(0)]);
        assert_eq!(decode(&["O"; 5]), [tag(0), tag(0), tag(0)]);
    }
    let ids = codec.encode_target(&["city", "place"]).unwrap();
    let text = grammar.decode_sbio(&codec, &ids, 3, Alignment::Sentinel).unwrap();
    assert_eq!(text, ["city", "place", "O"]);
}

#[test]
fn a_label_that_the_tokenizer_normalizes_is_still_found_by_its_ids() {
    let codec = codec();
    let grammar = grammar(&["\u{ff26}ull"]);
    let target = grammar.encode(&[2, INSIDE]);
    for alignment in [Alignment::Order, Alignment::Sentinel] {
        assert_eq!(
            grammar.decode(&codec, &target, 2, alignment).unwrap(),
            [Written::Tag(2), Written::Tag(1)]
        );
    }
}

/// Any ids that a model could write: those of tags and sentinels, `</s>`, padding and others.
fn any_target() -> impl proptest::strategy::Strategy<Value = Vec<u32>> {
    use proptest::prelude::*;
    let codec = codec();
    let grammar = grammar(&["city", "city_name"]);
    let mut ids = grammar.vocabulary();
    ids.retain(|id| grammar.sentinels().index(*id).is_none_or(|index| index < 5));
    ids.extend([codec.pad(), codec.eos(), 77, 1000]);
    prop::collection::vec(prop::sample::select(ids), 0..14)
}

proptest::proptest! {
    // Few cases: each reads the tokenizer.
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_tag_is_written_at_its_place(target in any_target(), words in 0_usize..5) {
        let (codec, grammar) = (codec(), grammar(&["city", "city_name"]));
        for alignment in [Alignment::Order, Alignment::Sentinel] {
            let written = grammar.decode(&codec, &target, words, alignment).unwrap();
            let places = grammar.places(&codec, &target, words, alignment).unwrap();
            proptest::prop_assert_eq!(places.len(), words);
            for (place, written) in places.into_iter().zip(written) {
                match (place, written) {
                    (None, _) => {}
                    (Some(place), Written::Tag(tag)) if grammar.tag(&target[place.clone()]).is_some() => {
                        proptest::prop_assert_eq!(&target[place], grammar.ids(tag));
                    }
                    (Some(place), written) => {
                        let texts = codec.decode_words(&target[place]).unwrap();
                        proptest::prop_assert_eq!(texts.first().map(String::as_str), Some(grammar.text(&written)));
                    }
                }
            }
        }
    }
}
