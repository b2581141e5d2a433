//! Words and tags in columns, tables and records, in every scheme.

use hyperloader_core::corpus::{Columns, CorpusSpec, Layout};
use hyperloader_core::text::scheme::Scheme;

use crate::{case, of_case, of_text, outcome, plain, spec};

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
