//! Oddities and faults of every layout, on files in memory.

use std::collections::BTreeMap;
use std::path::Path;

use super::convert::Making;
use super::load::Draft;
use super::reader::Reader;
use super::seq_in_out::PairReader;
use super::source::Source;
use super::*;
use crate::percentiles::Percentiles;

fn parse(
    content: &[u8],
    layout: Layout,
    options: &ReadOptions,
    transform: &LabelTransform,
) -> Result<(Vec<Sentence>, ReadReport), CorpusError> {
    let draft = Draft::of(Records::new(content, layout, options), Path::new("corpus"), layout, options)?;
    let (words, mut labels) = (layout.words(), BTreeMap::new());
    draft.finish(Making { words, transform: transform.clone(), labels: &mut labels })
}

fn parse_as(layout: Layout, content: &str) -> Result<Vec<Sentence>, CorpusError> {
    let parsed = parse(content.as_bytes(), layout, &ReadOptions::default(), &LabelTransform::default());
    parsed.map(|(sentences, _)| sentences)
}

fn read_as(layout: Layout, content: &str) -> Vec<Sentence> {
    parse_as(layout, content).unwrap()
}

fn fault(layout: Layout, content: &str) -> String {
    parse_as(layout, content).unwrap_err().to_string()
}

fn pairs(sentence: &Sentence) -> String {
    let pairs: Vec<String> =
        sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| format!("{word}/{tag}")).collect();
    pairs.join(" ")
}

fn mtop_line(slots: &str, text: &str, tokens: &str) -> String {
    format!("id\tIN:X\t{slots}\t{text}\tdomain\ten_XX\t[IN:X ]\t{tokens}")
}

fn mtod_line(slots: &str, text: &str, tokens: &str) -> String {
    format!("intent\t{slots}\t{text}\ten_XX\t{{\"tokenizations\":[{tokens}]}}")
}

/// The tokens column for tokens at the given starts; lengths are counted by `length`.
fn tokens(tokens: &[(&str, usize)], length: fn(&str) -> usize) -> String {
    let spans =
        tokens.iter().map(|(token, start)| serde_json::json!({"start": start, "length": length(token)}));
    let texts: Vec<&str> = tokens.iter().map(|(token, _)| *token).collect();
    serde_json::json!({"tokens": texts, "tokenSpans": spans.collect::<Vec<_>>()}).to_string()
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn pairs_of(words: &str, tags: &str) -> Result<Vec<Record>, LineFault> {
    let mut reader = PairReader::new(Source::new(words.as_bytes()), Source::new(tags.as_bytes()));
    std::iter::from_fn(|| reader.next()).collect()
}

#[test]
fn seq_in_out_cuts_at_runs_of_white_space() {
    let records = pairs_of("  play  jazz \nstop\r\n", "O  B-genre\nO \r\n").unwrap();
    assert_eq!(records[0].words, Some(vec!["play".to_owned(), "jazz".to_owned()]));
    assert_eq!(records[0].gold, Gold::Tags(vec!["O".to_owned(), "B-genre".to_owned()]));
    assert_eq!(records[0].offsets, Some(vec![(2, 6), (8, 12)]));
    assert_eq!((records[1].words.as_deref(), records[1].line), (Some(&["stop".to_owned()][..]), 2));
    let fault = pairs_of("a b c\na b c", "O O O\nO O O O").unwrap_err();
    assert_eq!(fault.to_string(), "line 2: 3 words but 4 tags");
    let fault = pairs_of("a\nb\nc\n", "O\n").unwrap_err();
    assert_eq!(fault.to_string(), "line 2: `seq.in` has 3 lines but `seq.out` has 1");
}

#[test]
fn bio_columns_reads_crlf_blank_runs_and_an_unfinished_last_line() {
    let sentences = read_as(Layout::BioColumns, "\r\nB-X\tone\r\nI-X\ttwo\r\n\r\n\r\n\r\nO\tthree");
    assert_eq!(sentences.iter().map(pairs).collect::<Vec<_>>(), ["one/B-X two/I-X", "three/O"]);
    assert_eq!(sentences.iter().map(|sentence| sentence.line).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(
        fault(Layout::BioColumns, "O\ta\n\nO\ta\nO b\n"),
        "`corpus`, line 4: 1 columns, but layout `bio-columns` has 2 (tag, word)"
    );
    assert_eq!(
        fault(Layout::BioColumns, "B-x\ta\nword\tO\n").lines().next().unwrap(),
        "`corpus`, line 2: tag `word` fits no scheme together with tags such as `B-label`"
    );
}

#[test]
fn mtop_offsets_are_bytes() {
    let text = "Call  Zo\u{eb} at caf\u{e9}";
    let column = tokens(&[("Call", 0), ("Zo\u{eb}", 6), ("at", 11), ("caf\u{e9}", 14)], str::len);
    let sentences = read_as(Layout::Mtop, &mtop_line("6:10:SL:CONTACT,14:19:SL:LOCATION", text, &column));
    assert_eq!(pairs(&sentences[0]), "Call/O Zo\u{eb}/B-SL:CONTACT at/O caf\u{e9}/B-SL:LOCATION");
    assert_eq!(sentences[0].offsets, Some(vec![(0, 4), (6, 9), (10, 12), (13, 17)]));
    assert_eq!(
        fault(Layout::Mtop, &mtop_line("6:9:SL:X", text, &column)),
        "`corpus`, line 1: slot 6:9 does not fit the text of 19 bytes (it cuts a character)"
    );
    assert_eq!(
        fault(Layout::Mtop, &mtop_line("6:20:SL:X", text, &column)),
        "`corpus`, line 1: slot 6:20 does not fit the text of 19 bytes"
    );
    assert_eq!(
        fault(Layout::Mtop, &mtop_line("SL:X", text, &column)),
        "`corpus`, line 1: slot `SL:X` is not `start:end:label`"
    );
    let few = r#"{"tokens":["a","b"],"tokenSpans":[{"start":0,"length":1}]}"#;
    assert_eq!(
        fault(Layout::Mtop, &mtop_line("", "a b", few)),
        "`corpus`, line 1: 2 tokens but 1 token spans"
    );
    assert_eq!(fault(Layout::Mtop, "a\tb\n"), "`corpus`, line 1: 2 columns, but layout `mtop` has 8");
    assert!(
        fault(Layout::Mtop, &mtop_line("", "a", "{"))
            .starts_with("`corpus`, line 1: not the JSON of layout `mtop`: ")
    );
}

#[test]
fn mtod_offsets_are_characters_and_a_slot_takes_the_whole_token() {
    let text = "Zo\u{eb}: tomorrow's plan";
    let column = tokens(&[("zo\u{eb}", 0), (":", 3), ("tomorrow's", 5), ("plan", 16)], characters);
    let sentences = read_as(Layout::Mtod, &mtod_line("5:13:datetime,16:20:reminder/todo", text, &column));
    assert_eq!(pairs(&sentences[0]), "zo\u{eb}/O :/O tomorrow's/B-datetime plan/B-reminder/todo");
    assert_eq!(sentences[0].text.as_deref(), Some(text));
    assert_eq!(fault(Layout::Mtod, &mtod_line("", text, "")), "`corpus`, line 1: the sentence has no words");
}

#[test]
fn of_two_slots_on_one_token_the_first_has_it_and_the_second_begins_at_its_next() {
    let text = "at 5:00,5:10";
    let column = tokens(&[("at", 0), ("5", 3), (":", 4), ("00,5", 5), (":", 9), ("10", 10)], characters);
    let sentences = read_as(Layout::Mtod, &mtod_line("3:7:datetime,8:12:datetime", text, &column));
    assert_eq!(
        pairs(&sentences[0]),
        "at/O 5/B-datetime :/I-datetime 00,5/I-datetime :/B-datetime 10/I-datetime"
    );
    assert_eq!(
        fault(Layout::Mtod, &mtod_line("5:7:a,8:9:b", text, &column)),
        "`corpus`, line 1: `b` at 8:9 covers no word of its own"
    );
    assert_eq!(
        fault(Layout::Mtod, &mtod_line("3:7:a,6:9:b", text, &column)),
        "`corpus`, line 1: `a` and `b` overlap at character 6\nhint: spans must be flat"
    );
}

#[test]
fn conll_skips_document_starts_and_opens_spans_of_iob1() {
    let text = "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\nGerman JJ I-NP I-MISC\nBonn NNP I-NP I-LOC\nParis NNP I-NP B-LOC\n\na X Y I-x\nb X Y I-x\n";
    let sentences = read_as(Layout::Conll, text);
    assert_eq!(pairs(&sentences[0]), "EU/B-ORG rejects/O German/B-MISC Bonn/B-LOC Paris/B-LOC");
    assert_eq!((pairs(&sentences[1]).as_str(), sentences[1].line), ("a/B-x b/I-x", 9));
    assert_eq!(
        fault(Layout::Conll, "a O\nb"),
        "`corpus`, line 2: 1 columns, but layout `conll` has 2 or more"
    );
    assert_eq!(
        fault(Layout::Conll, "a X O\nb O").lines().next().unwrap(),
        "`corpus`, line 2: 2 columns, but line 1 has 3"
    );
}

#[test]
fn jsonl_takes_tokens_with_tags_or_text_with_character_spans() {
    let text = "{\"tokens\":[\"a\",\"b\"],\"tags\":[\"O\",\"B-x\"]}\n\n{\"text\":\"Zo\u{eb} called  me\",\"spans\":[{\"start\":0,\"end\":3,\"label\":\"who\",\"text\":\"Zo\u{eb}\"}]}";
    let sentences = read_as(Layout::Jsonl, text);
    assert_eq!(
        sentences.iter().map(pairs).collect::<Vec<_>>(),
        ["a/O b/B-x", "Zo\u{eb}/B-who called/O me/O"]
    );
    assert_eq!(sentences[1].line, 3);
    assert_eq!(sentences[1].spans, Some(vec![CharSpan { start: 0, end: 3, label: "who".to_owned() }]));
    for (line, message) in [
        (r#"{"tokens":["a"],"tags":[]}"#, "1 words but 0 tags"),
        (r#"{"tokens":["a b"],"tags":["O"]}"#, "word `a b` holds white space"),
        (r#"{"tokens":["a",""],"tags":["O","O"]}"#, "word 2 is empty"),
        (r#"{"tokens":["a\u0000"],"tags":["O"]}"#, "word `a\u{2400}` holds a NUL character"),
        (r#"{"tokens":[],"tags":[]}"#, "the sentence has no words"),
        (r#"{"tokens":["a"],"tags":["B-"]}"#, "the label of `B-` is empty"),
        (r#"{"tokens":["a"],"tags":["B-x y"]}"#, "label `x y` holds white space"),
        (r#"{"tokens":["a"],"tags":["B-O"]}"#, "label `O` is a tag of its own in sBIO"),
        (r#"{"tokens":["a"],"tags":[1]}"#, "tag 1 has no name: `tag_names` is not set"),
        (
            r#"{"tokens":["a", 1],"tags":["O", "O"]}"#,
            "field `tokens` is an array with a number, expected an array of texts",
        ),
        (
            r#"{"text":"a","spans":[{"start":0,"end":2,"label":"x"}]}"#,
            "span 0:2 does not fit the text of 1 characters",
        ),
        (r#"{"text":"a","spans":[{"start":0,"end":1,"label":""}]}"#, "the label of `` is empty"),
        (r#"{"text":"a","spans":"none"}"#, "field `spans` is a text, expected an array of spans, or null"),
        (
            r#"{"text":"a","spans":[{"begin":0,"stop":1}]}"#,
            "span {\"begin\":0,\"stop\":1} of `spans` is not `[start, end, \"label\"]` or an object with `start`, `end` and `label`",
        ),
        (
            r#"{"body":"a","mark":[]}"#,
            "a record needs `tokens` and `tags`, or `text` and `spans`; this one has the keys `body`, `mark`",
        ),
        (r#"{"text":"#, "not the JSON of layout `jsonl`: EOF while parsing a value at column 8"),
        (r#"[1, 2]"#, "a record needs `tokens` and `tags`, or `text` and `spans`; this one has a number"),
    ] {
        let fault = fault(Layout::Jsonl, line);
        assert_eq!(fault.lines().next().unwrap(), format!("`corpus`, line 1: {message}"));
    }
    assert_eq!(
        fault(Layout::Jsonl, r#"{"text":"a"}"#).lines().next().unwrap(),
        "`corpus` has no annotation: no record has tags or spans; the first has `text`"
    );
}

#[test]
fn bytes_that_are_not_utf8_are_named_by_line_and_position() {
    let fails = |content: &[u8]| {
        let error = parse(content, Layout::BioColumns, &ReadOptions::default(), &LabelTransform::default());
        error.unwrap_err().to_string()
    };
    assert_eq!(
        fails(b"O\ta\nO\t\xff\n"),
        "`corpus`, line 2: not UTF-8: byte 0xFF at position 3 of the line, byte 7 of the file\n\
         hint: convert the file, for instance from Latin-1 with `iconv -f ISO-8859-1 -t UTF-8`"
    );
    for content in [b"\xff\xfeO\x00\t\x00".as_slice(), b"\xfe\xff\x00O", b"\xff\xfe"] {
        assert!(fails(content).starts_with("`corpus`, line 1: the file is UTF-16, not UTF-8\nhint: "));
    }
    assert_eq!(read_as(Layout::BioColumns, "\u{feff}O\ta").len(), 1);
    assert_eq!(fault(Layout::BioColumns, "\n\n"), "`corpus` holds no sentence");
    assert_eq!(fault(Layout::Conll, ""), "`corpus` holds no sentence");
}

#[test]
fn label_presets_differ_in_mtops_prefix_and_in_case() {
    let plain = Labels::Preset(LabelPreset::Plain);
    let reference = Labels::Preset(LabelPreset::Reference);
    for (layout, label, short, full) in [
        (Layout::Mtop, "SL:DATE_TIME", "date_time", "sl:date_time"),
        (Layout::Mtod, "reminder/todo", "reminder", "reminder"),
        (Layout::BioColumns, "Character_Name", "character_name", "Character_Name"),
        (Layout::SeqInOut, "toloc.city_name", "toloc.city_name", "toloc.city_name"),
    ] {
        assert_eq!(plain.transform(layout).apply(label).0, short);
        assert_eq!(reference.transform(layout).apply(label).0, full);
        let kept = if matches!(layout, Layout::Mtop | Layout::Mtod) { short } else { label };
        assert_eq!(Labels::default().transform(layout).apply(label).0, kept);
    }
    let cut: Labels = serde_json::from_str(r#"{"cut_at":"/","strip_prefix":"x-"}"#).unwrap();
    let transform = cut.transform(Layout::Jsonl);
    assert_eq!(transform.apply("x-A/b"), ("A".to_owned(), "A"));
    let error = parse(b"B-/x\ta\n", Layout::BioColumns, &ReadOptions::default(), &transform);
    assert_eq!(error.unwrap_err().to_string(), "`corpus`, line 1: the label of `/x` is empty");
}

#[test]
fn labels_that_a_change_of_case_makes_one_are_refused() {
    let lower = LabelTransform { case: LabelCase::Lower, ..LabelTransform::default() };
    let content = b"B-Title\ta\nB-x\tb\nB-TITLE\tc\n";
    let error = parse(content, Layout::BioColumns, &ReadOptions::default(), &lower).unwrap_err().to_string();
    assert_eq!(
        error,
        "`corpus`, line 3: labels `Title` and `TITLE` both become `title`\n\
         hint: `labels = \"keep\"` keeps them apart; rename one of them if they mean the same"
    );
    // What is cut off is meant to be lost.
    let cut = LabelTransform { cut_at: Some('/'), ..lower };
    assert!(parse(b"B-a/x\ta\nB-a/y\tb\n", Layout::BioColumns, &ReadOptions::default(), &cut).is_ok());
}

#[test]
fn a_spec_is_read_from_toml_and_layouts_have_names() {
    let spec: CorpusSpec =
        toml::from_str("layout = 'bio-columns'\ntrain = 'a.bio'\ntest = '/b.bio'\nlabels = 'reference'")
            .unwrap();
    assert_eq!((spec.holdout, spec.labels.clone()), (0.1, Labels::Preset(LabelPreset::Reference)));
    let spec = spec.resolved(Path::new("/data"));
    let test = spec.test.as_deref();
    assert_eq!((spec.train.as_path(), test), (Path::new("/data/a.bio"), Some(Path::new("/b.bio"))));
    for layout in Layout::ALL {
        assert_eq!(layout.name().parse::<Layout>().unwrap(), layout);
        assert_eq!(serde_json::to_string(&layout).unwrap(), format!("\"{layout}\""));
    }
    assert_eq!(
        "mtopp".parse::<Layout>().unwrap_err().to_string(),
        "unknown layout `mtopp`; known are `seq-in-out`, `bio-columns`, `mtop`, `mtod`, `conll`, `jsonl`, `parquet`, `csv`, `tsv`, `text`\nhint: did you mean `mtop`?"
    );
}

#[test]
fn subsets_are_floored_nested_and_keep_the_order() {
    let sentences: Vec<Sentence> = (1..=99).map(|line| Sentence { line, ..Sentence::default() }).collect();
    let lines = |fraction| -> Vec<usize> {
        subset(sentences.clone(), fraction, 3).unwrap().iter().map(|sentence| sentence.line).collect()
    };
    let (small, large) = (lines(0.1), lines(0.2));
    assert_eq!((small.len(), large.len(), lines(1.0).len()), (9, 19, 99));
    assert!(large.is_sorted() && small.iter().all(|line| large.contains(line)));
    let error = subset(sentences, 1.5, 3).unwrap_err().to_string();
    assert_eq!(error, "fraction is 1.5, but must be over 0 and at most 1");
}

#[test]
fn statistics_count_labels_duplicates_overlap_and_ill_formed_tags() {
    let train = read_as(Layout::BioColumns, "B-x\ta\nB-y\tb\n\nB-x\ta\nI-x\tb\n\nO\tc\nB-x\td\n");
    let valid = read_as(Layout::BioColumns, "B-v\tf\n");
    let test = read_as(Layout::BioColumns, "O\ta\nO\tb\n\nB-z\te\n\nB-v\te\n");
    let stats = stats::CorpusStats::of(&Splits { train, valid, test }, &[]);
    assert_eq!((stats.train.sentences, stats.train.words, stats.train.sentence_words.max), (3, 6, 2));
    assert_eq!((stats.train.duplicates, stats.train.ill_formed_tags, stats.test_in_train), (1, 0, 1));
    assert_eq!((stats.test.duplicates, stats.labels_only_in_test.clone()), (1, vec!["z".to_owned()]));
    let labels: Vec<(&str, [usize; 3])> = stats.labels().into_iter().collect();
    assert_eq!(labels, [("v", [0, 1, 1]), ("x", [3, 0, 0]), ("y", [1, 0, 0]), ("z", [0, 0, 1])]);
}

#[test]
fn percentiles_are_lengths_that_occur() {
    let of = |lengths: &[usize]| {
        let Percentiles { p50, p90, p99, max } = Percentiles::of(lengths.to_vec());
        [p50, p90, p99, max]
    };
    assert_eq!(of(&[]), [0; 4]);
    assert_eq!(of(&[7]), [7; 4]);
    assert_eq!(of(&[4, 1, 3, 2]), [2, 4, 4, 4]);
    assert_eq!(of(&(1..=200).rev().collect::<Vec<_>>()), [100, 180, 198, 200]);
}

#[test]
fn a_second_half_that_starts_with_a_blank_line_after_a_blank_line_adds_no_empty_sentence() {
    let sentences = read_as(Layout::BioColumns, "O\ta\n\n\nB-Dish\tb\n\n");
    assert_eq!(sentences.iter().map(pairs).collect::<Vec<_>>(), ["a/O", "b/B-Dish"]);
    assert_eq!(sentences[1].line, 4);
}

#[test]
fn duplicates_are_kept_in_file_order() {
    let sentences = read_as(Layout::BioColumns, "O\ta\n\nB-x\tb\n\nO\ta\n");
    assert_eq!(sentences.iter().map(pairs).collect::<Vec<_>>(), ["a/O", "b/B-x", "a/O"]);
}

#[test]
fn mtop_labels_are_those_of_the_flat_column_even_without_id_domain_or_last_newline() {
    let column = tokens(&[("remind", 0), ("me", 7), ("to", 10), ("call", 13)], str::len);
    let parse = "[IN:CREATE_REMINDER remind [SL:PERSON_REMINDED me ] to [SL:TODO [IN:CREATE_CALL call [SL:CONTACT x ] ] ] ]";
    let line = |slots: &str| format!("\tIN:X\t{slots}\tremind me to call\t\ten_XX\t{parse}\t{column}");
    let text = format!("{}\n{}", line("7:9:SL:PERSON_REMINDED,13:17:SL:TODO"), line(""));
    let sentences = read_as(Layout::Mtop, &text);
    assert_eq!(pairs(&sentences[0]), "remind/O me/B-SL:PERSON_REMINDED to/O call/B-SL:TODO");
    assert_eq!((pairs(&sentences[1]).as_str(), sentences[1].line), ("remind/O me/O to/O call/O", 2));
    assert_eq!(label_set(&sentences, "mtop").unwrap().len(), 2);
}

fn numbered(count: usize) -> String {
    (1..=count).map(|number| format!("O\t{number}\n\n")).collect()
}

#[test]
fn a_tenth_is_held_out_where_no_validation_split_is_distributed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.bio"), numbered(101)).unwrap();
    std::fs::write(folder.path().join("test.bio"), numbered(1)).unwrap();
    let mut spec = CorpusSpec::new(Layout::BioColumns, "train.bio", None, "test.bio").resolved(folder.path());
    let splits = spec.load().unwrap();
    let lines = |sentences: &[Sentence]| sentences.iter().map(|s| s.line).collect::<Vec<_>>();
    let (train, valid) = (lines(&splits.train), lines(&splits.valid));
    // Rounded up, as the paper's 782 of 7,816.
    assert_eq!((train.len(), valid.len(), splits.test.len()), (90, 11, 1));
    assert!(train.is_sorted() && valid.is_sorted() && valid.iter().all(|line| !train.contains(line)));
    assert_eq!(spec.load().unwrap(), splits);
    spec.seed = 1;
    assert_ne!(lines(&spec.load().unwrap().valid), valid);
}

mod properties;
