//! Files of all kinds, made at random.

use proptest::prelude::*;

use super::*;
use crate::text::scheme::Scheme;
use crate::text::spans::{Bio, Span, spans_to_bio};
use crate::text::words::{is_whitespace, split_whitespace};

/// Text that gets past the first checks of some layout more often than random bytes do.
fn near_corpus() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "O",
        "B-x",
        "I-x",
        "\t",
        "\n",
        "\r\n",
        " ",
        "1:3:x",
        ",",
        "id",
        "\u{eb}",
        "a b",
        "{\"tokens\":[\"a\"],\"tokenSpans\":[{\"start\":0,\"length\":1}]}",
        "{\"tokens\":[\"a\"],\"tokenSpans\":[{\"start\":1,\"length\":18446744073709551615}]}",
        "{\"tokenizations\":[{\"tokens\":[\"a\"],\"tokenSpans\":[{\"start\":0,\"length\":1}]}]}",
        "{\"tokens\":[\"a\"],\"tags\":[\"O\"]}",
        "{\"text\":\"a\u{eb}\",\"spans\":[{\"start\":1,\"end\":2,\"label\":\"x\"}]}",
    ]);
    let pieces = prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![pieces, prop::collection::vec(any::<u8>(), 0..64)]
}

fn slots_column() -> impl Strategy<Value = String> {
    let slot = (0..12usize, 0..12usize, "[a-z]{0,2}")
        .prop_map(|(start, end, label)| format!("{start}:{end}:{label}"));
    prop::collection::vec(slot, 0..4).prop_map(|slots| slots.join(","))
}

fn check_promises(sentences: &[Sentence]) -> Result<(), TestCaseError> {
    for sentence in sentences {
        prop_assert!(!sentence.words.is_empty() && sentence.words.len() == sentence.tags.len());
        prop_assert!(sentence.tags.iter().all(|tag| Bio::parse(tag).is_some()));
        prop_assert!(sentence.words.iter().all(|word| !word.is_empty() && !word.chars().any(is_whitespace)));
        let length = sentence.text.as_ref().map_or(0, |text| text.chars().count());
        prop_assert!(sentence.offsets.iter().flatten().all(|(start, end)| start <= end && *end <= length));
    }
    label_set(sentences, "test").map_err(|error| TestCaseError::fail(error.to_string()))?;
    Ok(())
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic_or_break_a_sentences_promises(content in near_corpus()) {
        for layout in Layout::ALL {
            // Lenient: every record or fault comes once, and reading ends.
            let records = Records::new(content.as_slice(), layout, &ReadOptions::default());
            prop_assert!(records.take(1000).count() < 1000);
            if let Ok((sentences, _)) = parse(&content, layout, &ReadOptions::default(), &LabelTransform::default()) {
                check_promises(&sentences)?;
            }
        }
    }

    #[test]
    fn no_slots_make_a_reader_panic_or_break_a_sentences_promises(slots in slots_column()) {
        let column = [("caf\u{e9}", 0), ("at", 5), ("9", 8)];
        let lines = [
            (Layout::Mtop, mtop_line(&slots, "caf\u{e9} at 9", &tokens(&column, characters))),
            (Layout::Mtod, mtod_line(&slots, "caf\u{e9} at 9", &tokens(&column, characters))),
        ];
        for (layout, line) in lines {
            if let Ok(sentences) = parse_as(layout, &line) {
                check_promises(&sentences)?;
            }
        }
    }
}

/// Words without white space, and flat spans over them.
fn annotated() -> impl Strategy<Value = (Vec<String>, Vec<Span>)> {
    let word = "[a-zA-Z\u{e9}\u{4eba}\u{1F600}][a-z\u{1F600}\u{e9}]{0,3}";
    let run = (prop::collection::vec(word, 1..4), prop::option::of("PER|Loc|x"));
    prop::collection::vec(run, 1..5).prop_map(|runs| {
        let (mut words, mut spans) = (Vec::new(), Vec::new());
        for (run, label) in runs {
            let start = words.len();
            words.extend(run);
            spans.extend(label.map(|label| Span { start, end: words.len(), label }));
        }
        (words, spans)
    })
}

/// Offset of a character in another unit.
fn in_unit(text: &str, at: usize, unit: OffsetUnit) -> usize {
    let before = text.chars().take(at);
    match unit {
        OffsetUnit::Chars => at,
        OffsetUnit::Bytes => before.map(char::len_utf8).sum(),
        OffsetUnit::Utf16 => before.map(char::len_utf16).sum(),
    }
}

proptest! {
    #[test]
    fn conll_files_read_back_as_they_were_written(sentences in prop::collection::vec(annotated(), 1..5), tabs in any::<bool>(), crlf in any::<bool>()) {
        let (blank, end) = (if tabs { "\t" } else { "  " }, if crlf { "\r\n" } else { "\n" });
        for scheme in Scheme::ALL {
            // IO cannot be told from other schemes without an `O`, nor keep adjacent spans apart.
            if scheme == Scheme::Io {
                continue;
            }
            let mut content = String::new();
            for (words, spans) in &sentences {
                let tags = scheme.tags(spans, words.len()).unwrap();
                for (word, tag) in words.iter().zip(tags) {
                    content += &format!("{word}{blank}_{blank}{tag}{end}");
                }
                content += end;
            }
            let read = read_as(Layout::Conll, &content);
            prop_assert_eq!(read.len(), sentences.len());
            for (sentence, (words, spans)) in read.iter().zip(&sentences) {
                prop_assert_eq!(&sentence.words, words);
                prop_assert_eq!(&sentence.tags, &spans_to_bio(spans, words.len()).unwrap());
            }
        }
    }

    #[test]
    fn spans_in_json_read_back_in_every_unit_and_form((words, spans) in annotated(), triples in any::<bool>(), pretty in any::<bool>()) {
        let text = words.join("  ");
        let places: Vec<(usize, usize)> = split_whitespace(&text).iter().map(|w| (w.start, w.end)).collect();
        for unit in OffsetUnit::ALL {
            let marks: Vec<serde_json::Value> = spans.iter().rev().map(|span| {
                let (start, end) = (places[span.start].0, places[span.end - 1].1);
                let own: String = text.chars().skip(start).take(end - start).collect();
                let [start, end] = [start, end].map(|at| in_unit(&text, at, unit));
                match triples {
                    true => serde_json::json!([start, end, span.label]),
                    false => serde_json::json!({"start_offset": start, "end_offset": end, "label": span.label, "text": own}),
                }
            }).collect();
            let row = serde_json::json!({"id": 7, "text": text, "entities": marks, "meta": {"a": [1]}});
            let content = match pretty {
                true => serde_json::to_string_pretty(&serde_json::json!([row, row])).unwrap(),
                false => format!("{row}\n\n{row}\r\n"),
            };
            let options = ReadOptions { offsets: unit, ..ReadOptions::default() };
            let records: Vec<Record> = Records::new(content.as_bytes(), Layout::Jsonl, &options).map(|record| record.unwrap()).collect();
            prop_assert_eq!(records.len(), 2);
            let others = serde_json::json!({"id": 7, "meta": {"a": [1]}});
            for record in records {
                let Gold::Spans(read) = &record.gold else { panic!("{record:?}") };
                let want: Vec<CharSpan> = spans.iter().rev().map(|span| CharSpan { start: places[span.start].0, end: places[span.end - 1].1, label: span.label.clone() }).collect();
                prop_assert_eq!(read, &want);
                // Other fields are passed through.
                prop_assert_eq!(&record.fields, others.as_object().unwrap());
            }
        }
    }

    #[test]
    fn tables_read_back_what_a_csv_writer_wrote((words, spans) in annotated(), quote in prop::option::of(0..3usize)) {
        let mut words = words;
        words.extend(quote.map(|at| ["\"", ",", "a\"\"b"][at].to_owned()));
        let tags = spans_to_bio(&spans, words.len()).unwrap();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["sentence", "token", "tag"]).unwrap();
        for number in 1..3 {
            for (word, tag) in words.iter().zip(&tags) {
                writer.write_record([&number.to_string(), word, tag]).unwrap();
            }
        }
        let content = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let read = read_as(Layout::Csv, &content);
        prop_assert_eq!(read.len(), 2);
        for sentence in read {
            prop_assert_eq!((&sentence.words, &sentence.tags), (&words, &tags));
        }
    }
}
