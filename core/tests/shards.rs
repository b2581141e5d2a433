//! A training split in several files: its sentences are those of one file, in memory as in a stream, and errors name the file.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::ops::ControlFlow;

use hyperloader_core::corpus::{CorpusSpec, Overlap, Sentence};
use hyperloader_core::text::scheme::Scheme;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

fn row(words: &[&str], tags: &[&str]) -> String {
    json!({ "tokens": words, "tags": tags }).to_string() + "\n"
}

fn compressed(name: &str, text: &str) -> Vec<u8> {
    match name.rsplit('.').next() {
        Some("gz") => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(text.as_bytes()).unwrap();
            writer.finish().unwrap()
        }
        Some("zst") => {
            ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
        }
        _ => text.as_bytes().to_vec(),
    }
}

/// A folder with these files, and the corpus of those that match `pattern`.
fn corpus(files: &[(&str, &str)], pattern: &str) -> (TempDir, CorpusSpec) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), compressed(name, text)).unwrap();
    }
    let spec = CorpusSpec::of_file(folder.path().join(pattern));
    (folder, spec)
}

fn streamed(spec: &CorpusSpec) -> Vec<Sentence> {
    let mut shards = spec.shards().unwrap();
    let sentences: Vec<Sentence> = shards.read().map(Result::unwrap).collect();
    assert_eq!(shards.sentences, sentences.len());
    sentences
}

/// The error of reading the corpus, without the folder.
fn error((folder, spec): (TempDir, CorpusSpec)) -> String {
    let first = spec.shards().and_then(|mut shards| shards.read().collect::<Result<Vec<_>, _>>());
    let message = first.unwrap_err().to_string();
    assert_eq!(spec.read().unwrap_err().to_string(), message, "in memory");
    message.replace(&format!("{}/", folder.path().display()), "")
}

fn tags(sentences: &[Sentence]) -> Vec<String> {
    sentences.iter().map(|sentence| sentence.tags.join(" ")).collect()
}

#[test]
fn compressed_and_plain_shards_are_read_in_the_order_of_their_names() {
    let one = |word: &str| row(&["to", word], &["O", "B-city"]);
    let files = [
        ("train-2.jsonl.zst", one("Oslo")),
        ("train-1.jsonl.gz", one("Bergen") + &one("Molde")),
        ("train-10.jsonl", one("Hamar")),
        (".train-0.jsonl", "hidden".to_owned()),
        ("test-1.jsonl", "not a match".to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (_folder, spec) = corpus(&files, "train-*.jsonl*");
    let read = streamed(&spec);
    let words = read.iter().map(|sentence| sentence.words[1].as_str());
    assert_eq!(words.collect::<Vec<_>>(), ["Bergen", "Molde", "Hamar", "Oslo"]);
    assert_eq!(read.iter().map(|sentence| sentence.line).collect::<Vec<_>>(), [1, 2, 1, 1]);
    assert_eq!(spec.train_files().unwrap().len(), 3);
    assert!(spec.shards().unwrap().labels.keys().eq(["city"]));
}

#[test]
fn the_scheme_and_the_splitting_of_words_follow_from_all_shards_together() {
    // On its own, the second file is IO and the first IOB1.
    let first = row(&["a", "b", "c"], &["I-x", "B-x", "O"]);
    let second = row(&["d", "'s", "e"], &["I-x", "O", "I-y"]);
    let (_folder, spec) = corpus(&[("a.jsonl", &first), ("b.jsonl", &second)], "?.jsonl");
    assert_eq!(tags(&streamed(&spec)), ["B-x B-x O", "B-x O B-y"]);
    let shards = spec.shards().unwrap();
    assert_eq!(shards.report().tags.as_ref().unwrap().recognized.scheme, Scheme::Iob1);
    assert_eq!((shards.word_fit.unwrap().tokens, shards.words.rule.name()), (6, "clitics"));
    // Texts without spans are annotated if others are.
    let spans = json!({ "text": "to Oslo", "spans": [[3, 7, "city"]] }).to_string();
    let none = json!({ "text": "to nowhere" }).to_string();
    let (_folder, spec) = corpus(&[("a.jsonl", &none), ("b.jsonl", &spans)], "*.jsonl");
    assert_eq!(tags(&streamed(&spec)), ["O O", "O B-city"]);
    assert_eq!(spec.shards().unwrap().report().without_spans, 1);
}

#[test]
fn faults_are_named_with_their_file_and_line() {
    let good = row(&["to", "Oslo"], &["O", "B-city"]).repeat(2);
    let in_second =
        |bad: &str| error(corpus(&[("a.jsonl", &good), ("b.jsonl", &(good.clone() + bad))], "*.jsonl"));
    assert!(in_second("{\"tokens\": [\n").starts_with("`b.jsonl`, line 3: not the JSON of layout `jsonl`: "));
    assert_eq!(in_second(&row(&["a"], &["O", "O"])), "`b.jsonl`, line 3: 1 words but 2 tags");
    assert!(in_second(&row(&["a"], &["city"])).starts_with("`b.jsonl`, line 3: tag `city` fits no scheme"));
    assert!(in_second(&row(&["a b"], &["O"])).starts_with("`b.jsonl`, line 3: word `a b` holds white space"));
    assert!(in_second(&row(&["a\0"], &["O"])).starts_with("`b.jsonl`, line 3: word `a\u{2400}` holds a NUL"));
    assert_eq!(
        in_second(&row(&["a"], &["B-new town"])),
        "`b.jsonl`, line 3: label `new town` holds white space"
    );
    let untagged = in_second("{\"tokens\": [\"a\"]}\n");
    assert!(untagged.starts_with("`b.jsonl`, line 3: a record needs `tokens` and `tags`"), "{untagged}");
    let span = "{\"text\": \"a\", \"spans\": [[0, 1, \"O\"]]}\n";
    assert!(
        in_second(span).starts_with("`b.jsonl`, line 3: label `O` is a tag of its own"),
        "{}",
        in_second(span)
    );
}

#[test]
fn patterns_that_cannot_be_read_are_errors() {
    let good = row(&["to", "Oslo"], &["O", "B-city"]);
    let none = error(corpus(&[("a.jsonl", &good)], "b*.jsonl"));
    assert!(none.starts_with("no file matches `b*.jsonl`\nhint: "), "{none}");
    let mixed = error(corpus(&[("a.jsonl", &good), ("a.csv", "x")], "a.*"));
    assert!(mixed.starts_with("`a.csv` has layout `csv`, but `a.jsonl` has `jsonl`\nhint: "), "{mixed}");
    let wrong = error(corpus(&[("a.jsonl", &good)], "[a*.jsonl"));
    assert!(wrong.starts_with("`[a*.jsonl` is not a pattern of file names: "), "{wrong}");
    assert!(wrong.ends_with("\nhint: write `[[]` for a `[` of the name"), "{wrong}");
    let wrong = error(corpus(&[("a.jsonl", &good)], "a**.jsonl"));
    assert!(wrong.ends_with("\nhint: a single `*` stands for any number of characters"), "{wrong}");
    let (folder, spec) = corpus(&[("a.jsonl", &good)], "*.json?");
    std::fs::create_dir(folder.path().join("b.jsonl")).unwrap();
    let message = spec.shards().unwrap_err().to_string();
    assert!(message.contains("b.jsonl"), "{message}");
    // Its path is a folder.
    let layout = Some("seq-in-out".parse().unwrap());
    let pairs = CorpusSpec { layout, ..CorpusSpec::of_file(folder.path()) };
    for message in [pairs.shards().map(drop), pairs.train_files().map(drop)].map(Result::unwrap_err) {
        let message = message.to_string();
        assert!(message.starts_with("layout `seq-in-out` cannot be streamed "), "{message}");
        assert!(message.contains("\nhint: layouts of one file can"), "{message}");
    }
}

#[test]
fn letter_case_counts_in_patterns_and_brackets_can_be_written() {
    let [upper, lower] = ["Oslo", "Bergen"].map(|word| row(&["to", word], &["O", "B-city"]));
    let (_folder, spec) = corpus(&[("Train-1.jsonl", &upper), ("train-1.jsonl", &lower)], "train-*.jsonl");
    assert_eq!(streamed(&spec)[0].words[1], "Bergen");
    assert_eq!(spec.train_files().unwrap().len(), 1);
    let files = [("part[1]-a.jsonl", upper.as_str()), ("part[1]-b.jsonl", &lower)];
    let message = error(corpus(&files, "part[1]-*.jsonl"));
    assert!(
        message.starts_with("no file matches `part[1]-*.jsonl`\nhint: in a pattern, `[...]`"),
        "{message}"
    );
    assert!(message.contains("write `[[]` for a `[`"), "{message}");
    assert_eq!(streamed(&corpus(&files, "part[[]1]-*.jsonl").1).len(), 2);
    // A file of exactly this name is no pattern.
    let (_folder, spec) =
        corpus(&[("part[1]-*.jsonl", &upper), ("part1-x.jsonl", &lower)], "part[1]-*.jsonl");
    assert_eq!(streamed(&spec)[0].words[1], "Oslo");
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_errors_and_not_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let good = row(&["to", "Oslo"], &["O", "B-city"]);
    let (folder, spec) = corpus(&[("a.jsonl", &good)], "*.jsonl");
    for name in [&b"b\xff.jsonl"[..], b"c\xfe.csv"] {
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(name)), &good).unwrap();
    }
    let message = error((folder, spec));
    assert!(
        message.starts_with("`*.jsonl` matches files whose names are not UTF-8: `b\u{fffd}.jsonl`\nhint: "),
        "{message}"
    );
}

#[test]
fn labels_of_spans_that_overlaps_leave_out_are_not_learned() {
    let spans = json!([[0, 7, "city"], [3, 7, "place"], [3, 7, "no label"], [8, 12, "day"]]);
    let line = json!({ "text": "to Oslo soon", "spans": spans }).to_string();
    for overlap in [Overlap::Longest, Overlap::First] {
        let (_folder, spec) = corpus(&[("a.jsonl", &line)], "*.jsonl");
        let spec = CorpusSpec { overlap, ..spec };
        assert!(spec.shards().unwrap().labels.keys().eq(["city", "day"]));
        assert_eq!(tags(&streamed(&spec)), ["B-city I-city B-day"]);
    }
    let (_folder, spec) = corpus(&[("a.jsonl", &line.replace("no label", "sea"))], "*.jsonl");
    assert!(error((_folder, spec)).contains(" overlap at character 3\nhint: "));
}

#[test]
fn the_first_reading_ends_where_it_is_asked_to() {
    let good = row(&["to", "Oslo"], &["O", "B-city"]).repeat(3);
    let (_folder, spec) = corpus(&[("a.jsonl", &good), ("b.jsonl", &good)], "*.jsonl");
    let mut seen = Vec::new();
    let end = spec.shards_while(&mut |records| {
        seen.push(records);
        if records == 4 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
    });
    assert_eq!(end.unwrap().break_value(), Some("enough"));
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn no_test_sentences_are_held_out_of_a_stream() {
    let good = row(&["to", "Oslo"], &["O", "B-city"]).repeat(20);
    let (folder, spec) = corpus(&[("a.jsonl", &good)], "*.jsonl");
    let sizes = |stream| {
        let valid = Some(folder.path().join("a.jsonl"));
        let splits = CorpusSpec { stream, valid, ..spec.clone() }.load().unwrap();
        [splits.train, splits.valid, splits.test].map(|split| split.len())
    };
    assert_eq!(sizes(false), [18, 20, 2]);
    assert_eq!(sizes(true), [20, 20, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_split_in_any_number_of_files_has_the_sentences_of_one_file(
        sizes in prop::collection::vec(0_usize..6, 1..7), ends in prop::collection::vec(0_usize..3, 7)
    ) {
        let mut number = 0;
        let mut texts: Vec<String> = Vec::new();
        for size in &sizes {
            let mut text = String::new();
            for _ in 0..*size {
                number += 1;
                let word = format!("w{number}");
                text += &row(&["to", &word], &["O", ["B-a", "B-b", "O"][number % 3]]);
            }
            texts.push(text);
        }
        prop_assume!(number > 3);
        let names: Vec<String> =
            (0..sizes.len()).map(|at| format!("{at}.jsonl{}", ["", ".gz", ".zst"][ends[at]])).collect();
        let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        let (_folder, spec) = corpus(&files, "*.jsonl*");
        let whole = texts.concat();
        let (_other, one) = corpus(&[("one.jsonl", &whole)], "one.jsonl");
        let plain = |sentences: Vec<Sentence>| -> Vec<(Vec<String>, Vec<String>)> {
            sentences.into_iter().map(|sentence| (sentence.words, sentence.tags)).collect()
        };
        let expected = plain(streamed(&one));
        prop_assert_eq!(plain(streamed(&spec)), expected.clone());
        let held = |spec: CorpusSpec| plain(spec.read().unwrap().splits.train);
        prop_assert_eq!(held(spec), held(one));
        prop_assert_eq!(expected.len(), number);
    }
}
