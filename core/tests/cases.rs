//! Inputs that people really have (`fixtures/cases`, found in public reports) and others of the same kinds: each is read rightly, or
//! refused with what is wrong with it.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use common::{codec, fixtures};
use hyperloader_core::corpus::{
    Columns, Corpus, CorpusSpec, Layout, LeftOut, OffsetUnit, Overlap, Sentence, SpanAlignment, label_set,
};
use hyperloader_core::text::scheme::Scheme;
use hyperloader_core::text::words::{WordRule, WordSplitting};
use hyperloader_core::text::writable::labels_writable;

fn case(file: &str) -> PathBuf {
    fixtures().join("cases").join(file)
}

/// A corpus whose splits are all in one file, with the layout of its extension or another.
fn spec(path: &Path, layout: Option<Layout>) -> CorpusSpec {
    CorpusSpec { layout, ..CorpusSpec::new(Layout::Conll, path, Some(path.to_owned()), path) }
}

fn pairs(sentence: &Sentence) -> String {
    let pairs = sentence.words.iter().zip(&sentence.tags).map(|(word, tag)| format!("{word}/{tag}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Sentences, one per line, and what reading the file noted after `--`.
fn shown(corpus: &Corpus) -> String {
    let mut lines: Vec<String> = corpus.splits.train.iter().map(pairs).collect();
    let notes = corpus.files[0].report.notes();
    if !notes.is_empty() {
        lines.push("--".to_owned());
        lines.extend(notes);
    }
    lines.join("\n")
}

/// What became of a file: its sentences and notes, or the error without the folder.
fn outcome(spec: &CorpusSpec) -> String {
    match spec.read() {
        Ok(corpus) => shown(&corpus),
        Err(error) => error.to_string().replace(&format!("{}/", spec.train.parent().unwrap().display()), ""),
    }
}

fn of_case(file: &str, layout: Option<Layout>) -> String {
    outcome(&spec(&case(file), layout))
}

/// The outcome of `content` in a file called `name`, after `change` of the settings.
fn of_text(name: &str, content: impl AsRef<[u8]>, change: impl FnOnce(&mut CorpusSpec)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let mut spec = spec(&path, None);
    change(&mut spec);
    outcome(&spec)
}

fn plain(name: &str, content: impl AsRef<[u8]>) -> String {
    of_text(name, content, |_| ())
}

const ROSA: &str = "Meet/O Rosa/B-PER in/O Lima/B-LOC";

#[test]
fn annotation_exports_are_read_as_text_with_spans() {
    assert_eq!(of_case("01-doccano-triples/a.jsonl", None), format!("{ROSA}\nnothing/O here/O"));
    assert_eq!(of_case("02-doccano-offset-names/a.jsonl", None), "Meet/O Rosa/B-PER in/O Lima/O");
    assert_eq!(of_case("03-prodigy-token-objects/a.jsonl", None), ROSA);
    assert_eq!(
        of_case("04-prodigy-no-spans-key/a.jsonl", None),
        "Meet/O Rosa/B-PER\nnothing/O here/O\n--\n1 texts without a field of spans, read as texts without spans"
    );
    let spans = r#"[{"start": 5, "end": 9, "label": "PER"}, {"start": 13, "end": 17, "label": "LOC"}]"#;
    let triples = r#"[[13, 17, "LOC"], [5, 9, "PER"]]"#;
    for (name, content) in [
        ("a.jsonl", format!(r#"{{"text": "Meet Rosa in Lima", "labels": {triples}}}"#)),
        ("a.jsonl", format!(r#"{{"data": "Meet Rosa in Lima", "label": {triples}, "spans": []}}"#)),
        (
            "a.jsonl",
            format!(
                r#"{{"text": "Meet Rosa in Lima", "ents": {spans}, "tokens": ["Meet", "Rosa", "in", "Lima"]}}"#
            ),
        ),
        ("a.jsonl", format!(r#"["Meet Rosa in Lima", {{"entities": {triples}}}]"#)),
        ("a.json", format!(r#"[["Meet Rosa in Lima", {{"entities": {triples}}}]]"#)),
        ("a.json", format!("[\n {{\n  \"text\": \"Meet Rosa in Lima\",\n  \"spans\": {spans}\n }}\n]\n")),
        ("a.json", format!("\u{feff}{{\n\"text\": \"Meet Rosa in Lima\",\r\n\"entities\": {triples}}}")),
        (
            "a.ndjson",
            format!("{{\"text\": \"Meet Rosa in Lima\", \"label\": {triples}, \"Comments\": []}}\r\n\r\n"),
        ),
    ] {
        assert_eq!(plain(name, &content), ROSA, "{content}");
    }
}

#[test]
fn label_studio_exports_are_read_and_skipped_tasks_left_out() {
    let result = r#"{"value": {"start": 5, "end": 9, "text": "Rosa", "labels": ["PER"]}, "from_name": "label", "to_name": "text", "type": "labels"}"#;
    let relation = r#"{"type": "relation", "from_id": "a", "to_id": "b"}"#;
    let task = |annotations: &str| {
        format!(r#"{{"id": 1, "annotations": {annotations}, "data": {{"text": "Meet Rosa"}}}}"#)
    };
    let good = task(&format!(
        r#"[{{"was_cancelled": true, "result": []}}, {{"result": [{relation}, {result}]}}, {{"result": []}}]"#
    ));
    let (skipped, open) = (task(r#"[{"was_cancelled": true, "result": []}]"#), task("[]"));
    let corpus = |content: &str| plain("export.json", content);
    assert_eq!(
        corpus(&format!("[{good},{skipped},\n{open}]")),
        "Meet/O Rosa/B-PER\n--\n1 of 3 records left out: ignored by the annotator\n1 of 3 records left out: not annotated\n\
         1 further annotations of the same texts not read"
    );
    let minimal = r#"[{"text": "Meet Rosa", "label": [{"start": 5, "end": 9, "text": "Rosa", "labels": ["PER"]}], "annotator": 1}]"#;
    assert_eq!(corpus(minimal), "Meet/O Rosa/B-PER");
    let two = minimal.replace(r#"["PER"]"#, r#"["PER", "ORG"]"#);
    assert!(corpus(&two).starts_with("`export.json`, line 1: span {"), "{}", corpus(&two));
}

#[test]
fn rows_that_annotators_rejected_are_left_out_and_counted() {
    assert_eq!(
        of_case("05-prodigy-rejected/a.jsonl", None),
        "Meet/O Rosa/B-PER\n--\n1 of 3 records left out: rejected by the annotator\n1 of 3 records left out: ignored by the annotator"
    );
    let report = spec(&case("05-prodigy-rejected/a.jsonl"), None).read().unwrap().files[0].report.clone();
    assert_eq!((report.records, report.left_out[&LeftOut::Rejected]), (3, 1));
    let rejected = "{\"text\": \"a\", \"spans\": [], \"answer\": \"reject\"}\n";
    assert_eq!(plain("a.jsonl", rejected), "`a.jsonl` holds no sentence: 1 rejected by the annotator");
}

#[test]
fn spans_with_a_text_are_compared_with_their_offsets() {
    let utf16 = "\nhint: the offsets fit as UTF-16 units: set `offsets = \"utf16\"`";
    assert_eq!(
        of_case("06-utf16-offsets/a.jsonl", None),
        format!(
            "`a.jsonl`, line 1: span 7:10 (`PER`) says that its text is `Ana`, but there the text has `na `{utf16}"
        )
    );
    // The text of this span fits by chance.
    assert_eq!(
        of_case("06-utf16-offsets/b.jsonl", None),
        format!("`b.jsonl`, line 1: span 9:10 (`ART`) cuts a word{utf16}")
    );
    let read = CorpusSpec { offsets: OffsetUnit::Utf16, ..spec(&case("06-utf16-offsets/a.jsonl"), None) };
    assert_eq!(outcome(&read), "\u{1f600}/O met/O Ana/B-PER B/O here/O");
    let bytes =
        r#"{"text": "Zoë met Ana", "spans": [{"start": 9, "end": 12, "label": "PER", "text": "Ana"}]}"#;
    assert!(plain("a.jsonl", bytes).ends_with("\nhint: the offsets fit as bytes: set `offsets = \"bytes\"`"));
    assert_eq!(of_text("a.jsonl", bytes, |spec| spec.offsets = OffsetUnit::Bytes), "Zoë/O met/O Ana/B-PER");
    let none = bytes.replace("12", "11");
    assert!(
        plain("a.jsonl", none)
            .ends_with("\nhint: offsets may count `chars`, `bytes` or `utf16`; here none fits all spans")
    );
}

#[test]
fn text_with_spans_is_cut_at_punctuation_and_what_misses_word_edges_is_counted() {
    let file = "08-span-narrower-than-word/a.jsonl";
    assert_eq!(
        of_case(file, None),
        "Rosa/B-PER ,/O meet/O me/O in/O Lima/B-LOC ./O\n(/O Lima/B-LOC )/O is/O big/O"
    );
    let blanks = WordSplitting { rule: WordRule::Whitespace, lowercase: false };
    let widened = CorpusSpec { words: Some(blanks), ..spec(&case(file), None) };
    assert!(
        outcome(&widened)
            .ends_with("--\n3 of 3 spans begin or end inside a word and were widened to whole words")
    );
    let refused = CorpusSpec { span_alignment: SpanAlignment::Error, ..widened };
    assert!(
        outcome(&refused)
            .starts_with("`a.jsonl`, line 1: span 0:4 (`PER`) does not begin and end at word edges\nhint: ")
    );
    let money = r#"{"text": "pay $450 or €75.", "spans": [[4, 8, "SUM"], [13, 15, "NUMBER"]]}"#;
    assert_eq!(plain("a.jsonl", money), "pay/O $/B-SUM 450/I-SUM or/O €/O 75/B-NUMBER ./O");
}

#[test]
fn overlapping_spans_are_refused_or_settled() {
    let row = r#"{"text": "New York City Hall", "spans": [[9, 18, "ORG"], [0, 13, "LOC"], [0, 13, "LOC"]]}"#;
    assert!(
        plain("a.jsonl", row)
            .starts_with("`a.jsonl`, line 1: `LOC` and `ORG` overlap at character 9\nhint: ")
    );
    let settled = of_text("a.jsonl", row, |spec| spec.overlap = Overlap::First);
    assert_eq!(
        settled,
        "New/B-LOC York/I-LOC City/I-LOC Hall/O\n--\n1 spans left out because they overlap with others\n1 copies of spans left out"
    );
}

#[test]
fn blanks_around_columns_are_padding() {
    assert_eq!(of_case("14-blank-after-the-token/a.conll", None), "\u{1f494}/O Rosa/B-PER");
    for file in ["b.conll", "c.conll"] {
        assert_eq!(of_case(&format!("14-blank-after-the-token/{file}"), None), "Rosa/B-PER hi/O");
    }
    assert_eq!(of_case("14-blank-after-the-token/d.bio", Some(Layout::BioColumns)), "hi/O Rosa/B-X");
    assert_eq!(
        plain("a.conll", "Rosa  B-PER  \r\nhi O \t\r\n \t \r\n\u{feff}x O"),
        "Rosa/B-PER hi/O\n\u{feff}x/O"
    );
}

#[test]
fn a_column_that_counts_the_words_is_never_taken_for_them() {
    let refused = "the first of 4 columns counts the words, so which ones are word and tag is not clear\n\
                   hint: name them, for instance `columns = [\"index\", \"word\", \"tag\", \"_\"]`";
    assert_eq!(
        of_case("16-germeval-index-column/a.tsv", Some(Layout::Conll)),
        format!("`a.tsv`, line 2: {refused}")
    );
    assert_eq!(
        of_case("16-germeval-index-column/b.tsv", Some(Layout::Conll)),
        format!("`b.tsv`, line 1: {refused}")
    );
    let columns = Columns::parse("index,word,tag,_").unwrap();
    let named = spec(&case("16-germeval-index-column/a.tsv"), Some(Layout::Conll));
    let named = CorpusSpec { columns: Some(columns), ..named };
    assert_eq!(outcome(&named), "Rosa/B-PER mag/O Lima/B-LOC\n--\n1 comment lines skipped");
    let three = "# source\n0\tRosa\tB-PER\n1\tsang\tO\n\n0\tLima\tB-LOC\n";
    let read = "Rosa/B-PER sang/O\nLima/B-LOC\n--\n1 comment lines skipped\nthe first column counts the words and was skipped";
    assert_eq!(plain("a.conll", three), read);
    assert_eq!(
        plain("a.conll", "1 Rosa B-PER\n2 sang O\n4 now O\n"),
        "`a.conll`, line 3: `4` in the column that numbers the words, expected 3"
    );
}

#[test]
fn comments_are_skipped_and_number_signs_stay_words() {
    let skipped = "rosa/B-PER sang/O\nlima/B-LOC\n--\n2 comment lines skipped";
    assert_eq!(of_case("17-multiconer-comments/a.conll", None), skipped);
    assert_eq!(of_case("17-multiconer-comments/b.conll", None), "#/O 1/O");
    let universal = "# sent_id = 1\n# text = Rosa # 1\nRosa B-PER\n# O\n1 O\n\n#now O\n#B B-PER\n";
    let read = plain("a.conll", universal);
    assert!(read.starts_with("Rosa/B-PER #/O 1/O\n#now/O #B/B-PER\n--\n2 comment lines skipped\n"), "{read}");
}

#[test]
fn every_scheme_is_recognized_in_every_layout_and_reported() {
    let io = "tags are io (each tag is a label, each run of one label a span); 3 of 4 converted to bio";
    assert_eq!(
        of_case("18-io-tags/a.conll", None),
        format!("Rosa/B-person-actor Lima/I-person-actor sang/O Cats/B-art-musical\n--\n{io}")
    );
    let untyped = "tags are bio without labels: every span is `entity` (`label = \"...\"` gives another); 2 of 3 converted to bio";
    assert_eq!(
        of_case("19-tags-without-type/a.conll", None),
        format!("APC2/O colon/B-entity tumour/I-entity\n--\n{untyped}")
    );
    let named =
        CorpusSpec { label: Some("gene".to_owned()), ..spec(&case("19-tags-without-type/a.conll"), None) };
    assert!(outcome(&named).starts_with("APC2/O colon/B-gene tumour/I-gene\n"));
    let york = "Rosa/B-PER in/O New/B-LOC York/I-LOC";
    let converted = |scheme: &str, count: &str| format!("\n--\ntags are {scheme}; {count} converted to bio");
    assert_eq!(of_case("20-iobes-bilou/a.conll", None), format!("{york}{}", converted("iobes", "2 of 4")));
    assert_eq!(of_case("20-iobes-bilou/b.conll", None), format!("{york}{}", converted("bilou", "2 of 4")));
    let json = york.replace("in/O ", "");
    assert_eq!(of_case("20-iobes-bilou/c.jsonl", None), format!("{json}{}", converted("bilou", "2 of 3")));
    let german = of_case("28-iob1-in-jsonl/a.jsonl", None);
    assert_eq!(german, format!("eu/B-org rejects/O german/B-misc call/O{}", converted("io", "2 of 4")));
    assert_eq!(of_case("28-iob1-in-jsonl/b.jsonl", None), german.lines().next().unwrap());
    assert_eq!(
        of_case("21-conll-five-columns/a.conll", None),
        "Rosa/B-PER singt/O\n--\ntags are io; 1 of 2 converted to bio"
    );
    let csv = "Sentence #,Word,POS,Tag\nSentence: 1,Rosa,NNP,S-PER\n,\"in\",IN,O\n,New,NNP,B-LOC\n,York,NNP,E-LOC\nSentence: 2,Lima,NNP,S-LOC\n";
    assert_eq!(plain("a.csv", csv), format!("{york}\nLima/B-LOC{}", converted("iobes", "3 of 5")));
    let wrong = of_text("a.conll", "a B-x\nb E-x\n", |spec| spec.scheme = Some(Scheme::Bio));
    assert_eq!(
        wrong,
        "`a.conll`, line 2: tag `E-x` is not one of scheme `bio`, whose tags are `O` and `B-label`, `I-label`"
    );
    assert!(
        plain("a.tsv", "word\ttag\na\tB-x\n\nb\tx\n").starts_with("`a.tsv`, line 4: tag `x` fits no scheme")
    );
}

#[test]
fn integer_tags_stand_for_names() {
    let row = "{\"id\": \"0\", \"tokens\": [\"Rosa\", \"sang\"], \"ner_tags\": [1, 0]}\n";
    assert!(
        plain("a.jsonl", row)
            .starts_with("`a.jsonl`, line 1: tag 1 has no name: `tag_names` is not set\nhint: ")
    );
    let names = |names: &[&str]| {
        of_text("a.jsonl", row, |spec| spec.tag_names = names.iter().map(|name| (*name).to_owned()).collect())
    };
    assert_eq!(names(&["O", "B-PER", "I-PER"]), "Rosa/B-PER sang/O");
    assert!(
        names(&["O"]).starts_with("`a.jsonl`, line 1: tag 1 has no name: `tag_names` has 1, from 0 on\n")
    );
}

#[test]
fn tables_hold_texts_or_words() {
    let spans = "id;text;spans\n1;\"Meet \"\"Rosa\"\"\";\"[[6, 10, \"\"PER\"\"]]\"\n";
    assert_eq!(plain("a.csv", spans), "Meet/O \"/O Rosa/B-PER \"/O");
    let lists = "tokens\ttags\n[\"Rosa\", \"sang\"]\t[\"B-PER\", \"O\"]\nLima \"\tB-LOC O\n";
    assert_eq!(plain("a.tsv", lists), "Rosa/B-PER sang/O\nLima/B-LOC \"/O");
    assert!(
        plain("a.csv", "tokens,tags\n\"['a', 'b']\",\"['O', 'O']\"\n")
            .contains("holds `['a', 'b']`, which is no JSON array")
    );
    assert!(
        plain("a.csv", "a,b\n1,2\n").starts_with(
            "`a.csv`, line 1: the columns `a`, `b` hold neither a text nor a word per row\nhint: "
        )
    );
    let roles = of_text("a.csv", "w,n,s,t\nRosa,x,1,B-PER\nsang,x,1,O\n", |spec| {
        spec.columns = Some(Columns::parse("word,_,sentence,tag").unwrap());
    });
    assert_eq!(roles, "Rosa/B-PER sang/O");
}

#[test]
fn compressed_files_are_read_by_their_inner_extension() {
    let content = "Rosa B-PER\nsang O\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd =
        ruzstd::encoding::compress_to_vec(content.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    for (name, bytes) in [("a.conll.gz", &gzip), ("a.conll.zst", &zstd)] {
        assert_eq!(plain(name, bytes), "Rosa/B-PER sang/O");
        // Two members, as tools append them.
        assert_eq!(plain(name, [&bytes[..], &bytes[..]].concat()), "Rosa/B-PER sang/O Rosa/B-PER sang/O");
        let damaged = plain(name, &bytes[..bytes.len() - 6]);
        assert!(
            damaged.starts_with(&format!("`{name}`, line ")) && damaged.contains("cannot read on"),
            "{damaged}"
        );
    }
    assert!(
        plain("a.data", content).starts_with(
            "the layout of `a.data` does not follow from its name\nhint: set `layout`; known are"
        )
    );
}

#[test]
fn labels_keep_their_case_and_are_never_merged_by_it() {
    assert_eq!(of_case("24-label-case/a.conll", None), "Rosa/B-PER is/O Dr/B-Title Cats/B-TITLE");
    let lower = of_text("a.conll", "Dr B-Title\nCats B-TITLE\n", |spec| {
        spec.labels = serde_json::from_str("\"plain\"").unwrap();
    });
    assert!(lower.starts_with("`a.conll`, line 2: labels `Title` and `TITLE` both become `title`\nhint: "));
    // The labels of different files are compared too.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("train.conll"), "Dr B-Title\n").unwrap();
    std::fs::write(path("test.conll"), "Cats B-TITLE\n").unwrap();
    let mut split =
        CorpusSpec::new(Layout::Conll, path("train.conll"), Some(path("train.conll")), path("test.conll"));
    split.labels = serde_json::from_str("{\"case\": \"lower\"}").unwrap();
    assert!(
        split
            .read()
            .unwrap_err()
            .to_string()
            .contains("test.conll`, line 1: labels `Title` and `TITLE` both become")
    );
}

#[test]
fn labels_that_t5_cannot_write_are_refused_by_name() {
    let refused = |file: &str| {
        let sentences = spec(&case(file), None).load().unwrap().train;
        let error = labels_writable(&codec(), &label_set(&sentences, file).unwrap()).unwrap_err();
        error
            .to_string()
            .lines()
            .next()
            .unwrap()
            .replace("the backbone's vocabulary cannot write these labels: ", "")
    };
    assert_eq!(refused("26-labels-t5-cannot-write/a.conll"), "`a{b}` (would be written as `ab`)");
    assert_eq!(
        refused("26-labels-t5-cannot-write/b.conll"),
        "`人名` (no character is known), `地名` (no character is known)"
    );
    assert_eq!(
        refused("26-labels-t5-cannot-write/c.conll"),
        "`x^y` (would be written as `xy`), `x~y` (would be written as `xy`)"
    );
    assert_eq!(refused("27-labels-that-are-normalised/a.conll"), "`m²` (would be written as `m2`)");
    // All labels of the paper's corpora can be written.
    let folder = fixtures().join("corpora");
    for (name, spec) in hyperloader_core::corpus::known::in_folder(&folder).unwrap() {
        let sentences = spec.load().unwrap().train;
        labels_writable(&codec(), &label_set(&sentences, &name).unwrap()).unwrap();
    }
}

#[test]
fn other_encodings_are_named() {
    let latin = of_case("30-latin-1/a.conll", None);
    assert_eq!(
        latin,
        "`a.conll`, line 2: not UTF-8: byte 0xF1 at position 2 of the line, byte 18 of the file\n\
         hint: convert the file, for instance from Latin-1 with `iconv -f ISO-8859-1 -t UTF-8`"
    );
    assert_eq!(
        of_case("30-latin-1/b.conll", None),
        "`b.conll`, line 1: the file is UTF-16, not UTF-8\nhint: convert it with `iconv -f UTF-16 -t UTF-8`"
    );
    assert!(plain("a.conll", b"a\0 B\0-\0x\0").contains("holds a NUL character\nhint: "));
    assert!(
        plain("a.jsonl", b"{\"text\": \"se\xf1or\", \"spans\": []}")
            .contains("line 1: not UTF-8: byte 0xF1 at position 13")
    );
    assert!(plain("a.csv", b"word,tag\nse\xf1or,O\n").contains("line 2: not UTF-8: byte 0xF1 at position 3"));
}

#[test]
fn the_rule_for_free_text_follows_from_the_tokens() {
    let corpus = spec(&case("57-words-of-tokens/a.jsonl"), None).read().unwrap();
    assert_eq!(corpus.words, WordSplitting { rule: WordRule::Punctuation, lowercase: true });
    let words: Vec<String> =
        corpus.words.split("Rosa, meet me in Lima.").into_iter().map(|word| word.text).collect();
    assert_eq!(words, corpus.splits.train[0].words);
    assert_eq!(corpus.word_fit.unwrap().missed_share(), 0.0);
    // Tokens that no rule gives are counted.
    let treebank = "I O\ndo O\nn't O\nlike O\nLima B-LOC\n, O\never O\n. O\n";
    let noted = plain("a.conll", treebank);
    assert!(
        noted.ends_with(
            "--\nthe rule `punctuation` cuts free text otherwise than 2 of 8 tokens of the corpus (25.00 %)"
        ),
        "{noted}"
    );
    let fixed = of_text("a.conll", treebank, |spec| spec.words = Some(WordSplitting::default()));
    assert!(
        fixed.ends_with(
            "the rule `whitespace` cuts free text otherwise than 6 of 8 tokens of the corpus (75.00 %)"
        ),
        "{fixed}"
    );
}

#[test]
fn test_and_validation_files_are_optional() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.conll");
    let content: String = (0..20).map(|number| format!("w{number} B-x\nand O\n\n")).collect();
    std::fs::write(&path, content).unwrap();
    let only = CorpusSpec { valid: None, test: None, ..spec(&path, None) };
    let splits = only.load().unwrap();
    assert_eq!([splits.train.len(), splits.valid.len(), splits.test.len()], [16, 2, 2]);
    let mut lines: Vec<usize> = [&splits.train, &splits.valid, &splits.test]
        .into_iter()
        .flatten()
        .map(|sentence| sentence.line)
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 20);
    assert_eq!(only.load().unwrap(), splits);
    let quarter = CorpusSpec { holdout: 0.25, seed: 3, ..only };
    assert_eq!(quarter.load().unwrap().test.len(), 5);
}

#[test]
fn configurations_name_the_accepted_forms() {
    for (line, message) in [
        (
            "labels = 3",
            "expected one of \"keep\", \"plain\", \"reference\", or a table such as { strip_prefix",
        ),
        ("labels = 'lower'", "unknown variant `lower`, expected one of `keep`, `plain`, `reference`"),
        (
            "words = 'blanks'",
            "unknown variant `blanks`, expected one of `whitespace`, `punctuation`, `clitics`, `unicode`",
        ),
        (
            "words = true",
            "expected one of \"whitespace\", \"punctuation\", \"clitics\", \"unicode\", or a table such as { rule",
        ),
        (
            "columns = 'word'",
            "expected the roles of the columns from left to right, for instance [\"index\", \"word\", \"tag\", \"_\"]",
        ),
        ("columns = ['tag']", "columns need one \"word\", and at most one"),
        (
            "columns = ['word', 'label']",
            "unknown variant `label`, expected one of `word`, `tag`, `index`, `sentence`, `_`, `*`",
        ),
        ("scheme = 'biose'", "unknown variant `biose`, expected one of"),
        ("offsets = 'utf8'", "unknown variant `utf8`, expected one of `chars`, `bytes`, `utf16`"),
        ("overlap = 'last'", "unknown variant `last`, expected one of `error`, `longest`, `first`"),
        ("span_alignment = 'shrink'", "unknown variant `shrink`, expected `expand` or `error`"),
    ] {
        let text = format!("train = 'a.jsonl'\n{line}");
        let error = toml::from_str::<CorpusSpec>(&text).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains(message), "{error}");
    }
    let text = "train = 'a.csv'\nholdout = 0.2\nscheme = 'bioes'\ncolumns = ['index', 'word', '*', 'tag']\nfields = { text = 'body' }\nwords = 'clitics'\n";
    let spec: CorpusSpec = toml::from_str(text).unwrap();
    assert_eq!((spec.holdout, spec.scheme, &spec.test), (0.2, Some(Scheme::Iobes), &None));
    // What a run keeps reads back the same.
    assert_eq!(toml::from_str::<CorpusSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    // Configurations of before.
    let old = "layout = 'jsonl'\ntrain = 'a'\ntest = 'b'\nvalid_fraction = 0.3\nlabels = 'plain'\n[words]\nrule = 'whitespace'\nlowercase = true\n";
    assert_eq!(toml::from_str::<CorpusSpec>(old).unwrap().holdout, 0.3);
}
