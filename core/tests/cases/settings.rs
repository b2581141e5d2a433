//! Files, labels and splits, and the settings that say how they are read.

use std::io::Write;

use hyperloader_core::corpus::{CorpusSpec, Layout, label_set};
use hyperloader_core::text::scheme::Scheme;
use hyperloader_core::text::words::{WordRule, WordSplitting};
use hyperloader_core::text::writable::labels_writable;

use crate::common::{codec, fixtures};
use crate::{case, of_case, of_text, plain, spec};

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
