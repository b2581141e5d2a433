//! First steps with a corpus of one's own: a configuration from files, sentences as read, and a start from another run.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::path::Path;

use hyperloader_core::run::{Run, Which};
use hyperloader_core::weights::tensors::{TensorFile, Tensors};
use hyperloader_tests::{Workplace, fixture, tiny_config};

/// Exit code, stdout and stderr.
fn run(place: &Workplace, program: &str, arguments: &str) -> (i32, String, String) {
    let output = place.program(program).args(arguments.split_whitespace()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn ok(place: &Workplace, program: &str, arguments: &str) -> (String, String) {
    let (code, out, log) = run(place, program, arguments);
    assert_eq!(code, 0, "{program} {arguments}: {log}");
    (out, log)
}

/// Invoices as an annotation tool exports them, and in columns.
fn invoices(place: &Workplace) {
    let jsonl = (10..34).map(|n| {
        format!("{{\"id\": {n}, \"text\": \"Pay ${n}00 to Acme Ltd.\", \"label\": [[4, 8, \"AMOUNT\"], [12, 20, \"ORG\"]]}}\n")
    });
    place.write("invoices.jsonl", jsonl.collect::<String>());
    let conll = (10..34).map(|n| format!("Pay O\n{n} S-AMOUNT\nto O\nAcme B-ORG\nLtd E-ORG\n\n"));
    place.write("invoices-train.conll", conll.clone().collect::<String>());
    place.write("invoices-dev.conll", conll.take(4).collect::<String>());
}

#[test]
fn init_writes_a_configuration_that_trains_unchanged() {
    let place = Workplace::new();
    invoices(&place);
    let backbone = fixture("backbones/t5-nano");
    let init = format!("init --quiet --backbone {}", backbone.display());
    for (files, output) in
        [("invoices.jsonl", "export.toml"), ("invoices-train.conll invoices-dev.conll", "columns.toml")]
    {
        let (out, _) = ok(&place, "hl-train", &format!("{init} --output {output} --data {files}"));
        assert_eq!(out, format!("{output}\n"));
        let train =
            format!("--config {output} --quiet --threads 1 --steps 1 --evaluate-every 1 --name {output}");
        ok(&place, "hl-train", &train);
    }
    let written = |name: &str| {
        let text = std::fs::read_to_string(place.path(name)).unwrap();
        let path = text.lines().find(|line| line.starts_with("path = ")).unwrap().to_owned();
        text.replace(&path, "path = [BACKBONE]")
    };
    insta::assert_snapshot!("export", written("export.toml"));
    insta::assert_snapshot!("columns", written("columns.toml"));

    let again = format!("{init} --output export.toml --data invoices.jsonl");
    let (code, _, log) = run(&place, "hl-train", &again);
    assert!(code == 1 && log.contains("`export.toml` exists already\nhint: "), "{log}");
    ok(&place, "hl-train", &format!("{again} --force"));
    let (code, _, log) = run(&place, "hl-train", &format!("{init} --data none.jsonl"));
    assert!(code == 1 && log.contains("cannot use the files of task `none`"), "{log}");
    assert!(!place.path("none.toml").exists());
}

/// Two short sentences and one of 300 words.
fn long_sentence(place: &Workplace) {
    let short = "Pay O\nAcme B-ORG\n\n".repeat(20);
    place.write("long.conll", format!("{short}{}Acme B-ORG\n", "pay O\n".repeat(299)));
}

#[test]
fn init_keeps_lengths_within_what_runs_on_the_backbone() {
    let place = Workplace::new();
    long_sentence(&place);
    let written = |backbone: &str, file: &str| {
        let backbone = fixture(&format!("backbones/{backbone}"));
        let init =
            format!("init --quiet --backbone {} --output {file} --data long.conll", backbone.display());
        ok(&place, "hl-train", &init);
        let train = format!("--config {file} --quiet --threads 1 --steps 1 --evaluate-every 1 --name {file}");
        ok(&place, "hl-train", &train);
        std::fs::read_to_string(place.path(file)).unwrap()
    };
    // A BERT has a fixed number of positions, no limit of words, and no targets of its own.
    let bert = written("bert-tiny", "bert.toml");
    assert!(
        bert.contains("max_source_len = 128 # most tokens of a sentence; the longest here has "),
        "{bert}"
    );
    assert!(!bert.contains("max_target_len"), "{bert}");
    let window = "too_long = \"window\" # sentences that are too long (1 here) are cut into parts that fit\n";
    assert!(bert.contains(window) && bert.contains("method = \"adapters\""), "{bert}");
    // What docs/results/minilm.md supports.
    assert!(bert.contains("learning_rate = 1e-3 ") && bert.contains("label_smoothing = 0.0 "), "{bert}");
    assert!(!bert.contains("dropout"), "{bert}");
    // A T5 has a limit of words, and lengths that the file's author chooses.
    let t5 = written("t5-nano", "t5.toml");
    assert!(t5.contains("max_source_len = 512 # ") && t5.contains("max_target_len = 512 # "), "{t5}");
    assert!(t5.contains(window), "{t5}");
}

#[test]
fn init_says_that_lengths_are_not_counted_without_a_tokenizer() {
    let place = Workplace::new();
    invoices(&place);
    let mut command = place.program("hl-train");
    command.args(["init", "--data", "invoices.jsonl", "--backbone", "nobody/none"]);
    let output = command.env("HF_HOME", place.path("cache")).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(
        log.contains(
            "the backbone's tokenizer cannot be read: it is not on this machine\nhint: let a training"
        ),
        "{log}"
    );
    let text = std::fs::read_to_string(place.path("invoices.toml")).unwrap();
    assert!(
        text.contains(
            "max_source_len = 128 # most tokens of a sentence; not counted: the backbone's tokenizer"
        ),
        "{text}"
    );
}

#[test]
fn the_corpora_of_a_bert_are_counted_in_its_tokens() {
    let place = Workplace::new();
    long_sentence(&place);
    place.write(
        "bert.toml",
        format!(
            "[backbone]\npath = \"{}\"\n[method]\nmethod = \"unipelt-bert\"\n[task.long]\ntrain = \"long.conll\"\n",
            fixture("backbones/bert-tiny").display()
        ),
    );
    let (out, _) = ok(&place, "hl-train", "corpora --config bert.toml");
    assert!(out.contains("over 128 source tokens") && !out.contains("target tokens"), "{out}");
    assert!(!out.contains(&usize::MAX.to_string()), "{out}");
}

#[test]
fn sentences_are_shown_as_they_are_read() {
    let place = Workplace::new();
    invoices(&place);
    place.write(
        "mine.toml",
        format!(
            "[backbone]\npath = \"{}\"\n[task.invoices]\ntrain = \"invoices.jsonl\"\n",
            fixture("backbones/t5-nano").display()
        ),
    );
    let (out, _) = ok(&place, "hl-train", "corpora --config mine.toml --quiet --show 2");
    insta::assert_snapshot!("shown", out);
    let (out, _) =
        ok(&place, "hl-train", "corpora --config mine.toml --quiet --show 1 --output-format jsonl");
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["tags"].as_array().unwrap().len(), lines[0]["words"].as_array().unwrap().len());
}

fn tensors(place: &Workplace, run: &str, which: Which) -> Tensors {
    let run = Run::open(&place.path(run)).unwrap();
    let file = run.folder.join(&run.checkpoint(which).unwrap().file);
    TensorFile::open(Path::new(&file)).unwrap().read_all().unwrap()
}

#[test]
fn a_warm_start_takes_what_tasks_share_and_says_what_is_new() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    let train = |more: &str| ok(&place, "hl-train", &format!("--threads 1 --no-progress {more}")).1;
    train("--tasks atis --steps 2 --evaluate-every 2 --name first");
    let log = train("--steps 1 --evaluate-every 1 --warm-start runs/first --name second");
    let first = tensors(&place, "runs/first", Which::Last);
    let count = first.len();
    let note = format!("starts from run `first` at step 2: {count} tensors taken; 1 new, for `movie`\n");
    assert!(log.contains(&note), "{log}");
    // The checkpoint of step 0 is kept as one of the last two.
    let run = Run::open(&place.path("runs/second")).unwrap();
    let start = run.manifest.checkpoints.iter().find(|checkpoint| checkpoint.step == 0).unwrap();
    let start = run.read(start).unwrap();
    assert_eq!(start.len(), count + 1);
    assert!(first.iter().all(|(name, tensor)| start[name] == *tensor));
    assert!(start.contains_key("hyper.task_embed.movie"));
    let log = train("--tasks movie --steps 1 --evaluate-every 1 --warm-start runs/first --name third");
    let note = format!("{} tensors taken; 1 new, for `movie`; tasks left out: `atis`\n", count - 1);
    assert!(log.contains(&note), "{log}");

    let config = tiny_config().replace("reduction_factor = 8", "method = \"lora\"");
    place.write("lora.toml", config);
    ok(&place, "hl-train", "--config lora.toml --quiet --threads 1 --tasks atis --steps 1 --name lora");
    let other =
        "--config lora.toml --quiet --threads 1 --tasks movie --steps 1 --warm-start runs/lora --name other";
    let (code, _, log) = self::run(&place, "hl-train", other);
    assert!(
        code == 1 && log.contains("`lora` shares nothing between tasks, and the run has only `atis`"),
        "{log}"
    );
}

#[test]
fn corpora_with_spans_are_also_scored_by_character() {
    let place = Workplace::new();
    let rows = (10..34).map(|n| format!("{{\"text\": \"Pay in {n}23.\", \"label\": [[7, 11, \"DATE\"]]}}\n"));
    place.write("dates.jsonl", rows.collect::<String>());
    let config = format!(
        "[backbone]\npath = \"{}\"\n[training]\nsteps = 1\nbatch_size = 4\n[task.dates]\ntrain = \"dates.jsonl\"\nwords = \"whitespace\"\n",
        fixture("backbones/t5-nano").display()
    );
    place.write("hyperloader.toml", config);
    let (out, log) = ok(&place, "hl-train", "--threads 1 --no-progress --name dates");
    assert!(out.contains("validation F1 by character") && out.contains("test F1 by character"), "{out}");
    assert!(
        log.contains("24 of 24 spans begin or end inside a word and were widened to whole words"),
        "{log}"
    );
    assert!(log.contains("by character)"), "{log}");
    let outcome: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("runs/dates/outcome.json")).unwrap()).unwrap();
    // No tag of whole words can be right: the file's spans end inside of words.
    let exact = &outcome["test"]["dates"]["exact"];
    assert_eq!((exact["f1"].as_f64(), exact["support"].as_u64()), (Some(0.0), Some(3)));
    assert!(std::fs::read_to_string(place.path("runs/dates/report.html")).unwrap().contains("By character"));
}
