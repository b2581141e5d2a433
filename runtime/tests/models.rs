//! Several models in one call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};

use common::{lexicon_bytes, metadata};
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::text::words::{WordRule, WordSplitting};
use serde_json::Value;

/// A folder with `one.onnx` of the task `lexicon`, and with `two.onnx` of the task `blanks`, which splits texts at white space only and
/// takes shorter sentences.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = WordSplitting { rule: WordRule::Whitespace, lowercase: true };
    let two = TaggerMetadata { task: "blanks".into(), words, max_source_len: 14, ..metadata() };
    fs::write(folder.path().join("one.onnx"), lexicon_bytes(&metadata())).unwrap();
    fs::write(folder.path().join("two.onnx"), lexicon_bytes(&two)).unwrap();
    folder
}

fn run(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
    command.current_dir(folder.path()).env("NO_COLOR", "1").stdin(Stdio::null());
    command.args(["--backend", "tract", "--quiet"]).args(args).output().unwrap()
}

const BOTH: [&str; 3] = ["--model", "one.onnx", "two.onnx"];

fn both(folder: &tempfile::TempDir, args: &[&str]) -> Output {
    run(folder, &[&BOTH[..], args].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn each_record_is_tagged_by_each_model_as_if_it_were_alone() {
    let folder = folder();
    let sentences = ["call caf\u{e9} paris.", "set an alarm for 7 am", " ", "paris"];
    fs::write(folder.path().join("in.txt"), sentences.join("\n") + "\n").unwrap();
    let input = ["--input", "in.txt", "--scores", "--output-format", "jsonl"];
    let output = both(&folder, &input);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let lines = |output: &Output| -> Vec<Value> {
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let found = lines(&output);
    assert_eq!(found.len(), sentences.len());
    for (task, model) in [("lexicon", "one.onnx"), ("blanks", "two.onnx")] {
        let alone = lines(&run(&folder, &[&["--model", model][..], &input].concat()));
        for (both, mut alone) in found.iter().zip(alone) {
            let text = alone.as_object_mut().unwrap().remove("text").unwrap();
            assert_eq!((&both["text"], &both["tasks"][task]), (&text, &alone));
        }
    }
    assert_ne!(found[0]["tasks"]["lexicon"]["spans"], found[0]["tasks"]["blanks"]["spans"]);
}

#[test]
fn all_formats_name_the_tasks() {
    let folder = folder();
    let format = |format| {
        let output = both(&folder, &["call caf\u{e9} paris.", "--output-format", format]);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{format}");
        text(&output.stdout)
    };
    insta::assert_snapshot!(format("text"), @r"
    call café paris.
      lexicon    5..9  place  café
      lexicon  10..15  place  paris
      blanks     5..9  place  café
      blanks   10..16  place  paris.
    ");
    insta::assert_snapshot!(format("pretty"), @r"
    lexicon: call [café](place) [paris](place).
    blanks: call [café](place) [paris.](place)

    legend: blanks.place 2, lexicon.place 2
    ");
    insta::assert_snapshot!(format("conll"), @r"
    # tags: lexicon blanks
    call	O	O
    café	B-place	B-place
    paris	B-place	B-place
    .	O	I-place
    ");
    insta::assert_snapshot!(format("tsv"), @r"
    record	task	start	end	label	text	error
    1	lexicon	5	9	place	café	
    1	lexicon	10	15	place	paris	
    1	blanks	5	9	place	café	
    1	blanks	10	16	place	paris.	
    ");
    let page = format("html");
    assert!(
        page.contains("Spans of lexicon, blanks") && page.matches("class=\"task\"").count() == 2,
        "{page}"
    );
    let output = both(&folder, &["call paris", "--output", "brat", "--output-format", "brat"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = |name: &str| fs::read_to_string(folder.path().join("brat").join(name)).unwrap();
    assert_eq!(read("arguments.ann"), "T1\tlexicon-place 5 10\tparis\nT2\tblanks-place 5 10\tparis\n");
    assert!(
        read("annotation.conf")
            .starts_with("[entities]\nlexicon-date_time\nlexicon-place\nblanks-date_time\nblanks-place\n")
    );
}

#[test]
fn a_record_that_one_model_cannot_tag_fails_and_names_the_task() {
    let folder = folder();
    let long = ["set"; 9].join(" ");
    let args = ["--no-split", "--output-format", "jsonl", "paris", &long, "7 am"];
    let output = both(&folder, &args);
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.starts_with("error: argument 2: task `blanks`: the sentence takes "), "{log}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["text"]), (3, &Value::from(long.as_str())));
    let message = lines[1]["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("task `blanks`: the sentence takes "), "{message}");
    assert!(lines[1].get("tasks").is_none() && lines[2]["tasks"]["blanks"]["spans"].is_array());
}

#[test]
fn words_of_a_record_are_those_of_all_models() {
    let folder = folder();
    fs::write(folder.path().join("in.conll"), "call\tVB\nparis.\tNN\n\nnew\tX\n").unwrap();
    let input = |format| text(&both(&folder, &["--input", "in.conll", "--output-format", format]).stdout);
    insta::assert_snapshot!(input("conll"), @r"
    # tags: lexicon blanks
    call	VB	O	O
    paris.	NN	B-place	B-place

    new	X	B-place	B-place
    ");
    let line: Value = serde_json::from_str(input("jsonl").lines().last().unwrap()).unwrap();
    assert_eq!(line["tokens"], serde_json::json!(["new"]));
    assert_eq!(line["tasks"]["blanks"]["tags"], serde_json::json!(["B-place"]));
}

#[test]
fn models_of_one_task_are_refused_and_gold_takes_one() {
    let folder = folder();
    fs::write(folder.path().join("gold.conll"), "call\tO\n").unwrap();
    for (args, message) in [
        (
            &["--model", "one.onnx", "one.onnx", "set"][..],
            "`one.onnx` and `one.onnx` are both taggers of the task `lexicon`",
        ),
        (&["--model", "one.onnx", "--model", "one.onnx", "--info"], "are both taggers of the task `lexicon`"),
        (&["--model", "one.onnx", "absent.onnx", "set"], "cannot read model `absent.onnx`"),
        (
            &["--gold", "gold.conll", "--model", "one.onnx", "two.onnx"],
            "`--gold` evaluates one model, and `--model` names 2\nhint: `--compare FILE`",
        ),
        (
            &["--model", "one.onnx", "two.onnx", "--output", "two.onnx", "--output-format", "jsonl", "set"],
            "it is the same file as the model `two.onnx`",
        ),
    ] {
        let output = run(&folder, args);
        let log = text(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(message), "{args:?}: {log}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn info_is_of_all_models() {
    let folder = folder();
    let info = |format| text(&both(&folder, &["--info", "--output-format", format]).stdout);
    let tasks = |values: &[Value]| {
        values.iter().map(|value| value["task"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let array: Vec<Value> = serde_json::from_str(&info("json")).unwrap();
    let lines: Vec<Value> = info("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((tasks(&array), tasks(&lines)), (vec!["lexicon".into(), "blanks".into()], tasks(&array)));
    assert_eq!(array[1]["file"], "two.onnx");
    let table = info("text");
    assert_eq!(
        (table.matches("\n\nfile ").count(), table.matches("max_source_len").count()),
        (1, 2),
        "{table}"
    );
}

#[test]
fn a_file_has_what_stdout_would_have() {
    let folder = folder();
    fs::write(folder.path().join("in.txt"), "paris\nset\n").unwrap();
    for format in ["text", "pretty", "json", "jsonl", "conll", "tsv", "html"] {
        let args = ["--input", "in.txt", "--output-format", format];
        let stdout = both(&folder, &args).stdout;
        let resume = if ["pretty", "json", "html"].contains(&format) { &[][..] } else { &["--resume"] };
        let output = both(&folder, &[&args[..], &["--output", "out"], resume].concat());
        assert!(output.status.success(), "{format}: {}", text(&output.stderr));
        assert_eq!(fs::read(folder.path().join("out")).unwrap(), stdout, "{format}");
    }
}

#[test]
fn sentences_may_stand_anywhere_and_two_dashes_end_the_models() {
    let folder = folder();
    let texts = |args: &[&str]| {
        let output = run(&folder, &[&["--output-format", "jsonl"][..], args].concat());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        let lines = text(&output.stdout);
        let texts = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        texts
            .map(|line| {
                format!(
                    "{}{}",
                    line["text"].as_str().unwrap(),
                    if line["tasks"].is_object() { "!" } else { "" }
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(texts(&["--model", "one.onnx", "set", "paris"]), ["set", "paris"]);
    assert_eq!(texts(&["set", "--model", "one.onnx", "two.onnx", "paris"]), ["set!", "paris!"]);
    assert_eq!(texts(&["--model", "one.onnx", "--model", "two.onnx", "--", "two.onnx"]), ["two.onnx!"]);
    assert_eq!(texts(&["--model", "one.onnx", "--", "two.onnx"]), ["two.onnx"]);
}
