//! The program itself, in a fresh folder.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use common::{lexicon_bytes, lexicon_tagger, metadata, model_bytes};

/// `hl-run` in an empty folder, with nothing in the environment that changes what it does.
struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
        command.args(args).current_dir(self.folder.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        match native_library() {
            Some(library) => command.env("ORT_DYLIB_PATH", library),
            None => command.env_remove("ORT_DYLIB_PATH"),
        };
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn run_with_stdin(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// What `cargo xtask setup` fetched: the program does not find it by itself where tests are built outside the clone.
fn native_library() -> Option<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.native/onnxruntime/lib");
    std::fs::read_dir(folder).ok()?.find_map(|entry| Some(entry.ok()?.path()))
}

/// Exit code, stdout and stderr as one text.
fn transcript(output: &Output) -> String {
    let mut text = format!("exit code {}\n", output.status.code().unwrap());
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let lines = std::str::from_utf8(bytes).unwrap();
        write!(text, "{name}\n{lines}").unwrap();
    }
    text
}

fn model(args: &[&'static str]) -> Vec<&'static str> {
    [&["--model", lexicon_tagger().to_str().unwrap()], args].concat()
}

/// A snapshot without versions and folders, which differ between machines.
macro_rules! snapshot {
    ($text:expr, @$expected:literal) => {
        insta::with_settings!({filters => vec![
            (r"ONNX Runtime \d+\.\d+\.\d+", "ONNX Runtime [VERSION]"),
            (r"`[^`]*(/absent\.so|libonnxruntime\.so[.\d]*)`", "`[LIBRARY]`"),
            (r"hl-run \d+\.\d+\.\d+", "hl-run [VERSION]"),
            (r"[ ]+\n", "\n"),
            (r"tokenizer( +|.:.)\d+ bytes", "tokenizer$1[SIZE] bytes"),
        ]}, { insta::assert_snapshot!($text, @$expected) });
    };
}

#[test]
fn help_and_version_are_data() {
    let setup = Setup::new();
    insta::assert_snapshot!(transcript(&setup.run(&["--help"])));
    snapshot!(transcript(&setup.run(&["--version"])), @r#"
    exit code 0
    stdout
    hl-run [VERSION]
    stderr
    "#);
}

#[test]
fn sentences_come_as_arguments() {
    let setup = Setup::new();
    let run = |backend| {
        setup.run(&model(&[
            "--backend",
            backend,
            "--quiet",
            "set an alarm for 7 am",
            "call caf\u{e9} Paris .",
            "set",
        ]))
    };
    let ort = transcript(&run("ort"));
    assert_eq!(ort, transcript(&run("tract")));
    snapshot!(ort, @r#"
    exit code 0
    stdout
    set an alarm for 7 am
      set  an  alarm  for  7            am
      O    O   O      O    B-date_time  I-date_time
      17..21  date_time  7 am

    call café Paris .
      call  café     paris    .
      O     B-place  B-place  O
        5..9  place  café
      10..15  place  Paris

    set
      set
      O
      no spans
    stderr
    "#);
}

#[test]
fn the_backend_is_named_on_stderr() {
    let setup = Setup::new();
    snapshot!(transcript(&setup.run(&model(&["--output-format", "jsonl", "7"]))), @r#"
    exit code 0
    stdout
    {"text":"7","spans":[{"start":0,"end":1,"label":"date_time","text":"7"}]}
    stderr
    backend: ONNX Runtime [VERSION] on cpu
    "#);
    let tract = setup.run(&model(&["--output-format", "jsonl", "--backend", "tract", "7"]));
    snapshot!(transcript(&tract), @r#"
    exit code 0
    stdout
    {"text":"7","spans":[{"start":0,"end":1,"label":"date_time","text":"7"}]}
    stderr
    backend: tract on cpu
    "#);
}

#[test]
fn auto_takes_tract_when_the_library_does_not_load_and_says_why() {
    let setup = Setup::new();
    let run = |args: &[&'static str]| {
        let output = setup.command(&model(args)).env("ORT_DYLIB_PATH", "/absent.so").output().unwrap();
        transcript(&output)
    };
    snapshot!(run(&["--output-format", "jsonl", "7"]), @r#"
    exit code 0
    stdout
    {"text":"7","spans":[{"start":0,"end":1,"label":"date_time","text":"7"}]}
    stderr
    ONNX Runtime cannot be loaded from `[LIBRARY]`, which ORT_DYLIB_PATH names: /absent.so: cannot open shared object file: No such file or directory
    backend: tract on cpu
    "#);
    snapshot!(run(&["--backend", "ort", "7"]), @r#"
    exit code 1
    stdout
    stderr
    error: ONNX Runtime cannot be loaded from `[LIBRARY]`, which ORT_DYLIB_PATH names
      caused by: /absent.so: cannot open shared object file: No such file or directory
    "#);
    snapshot!(run(&["--ort-lib", "/absent.so", "7"]), @r#"
    exit code 1
    stdout
    stderr
    error: ONNX Runtime cannot be loaded from `[LIBRARY]`, which `--ort-lib` names
      caused by: /absent.so: cannot open shared object file: No such file or directory
    "#);
}

#[test]
fn a_gpu_that_is_asked_for_is_never_replaced() {
    let setup = Setup::new();
    let output = setup.run(&model(&["--device", "cuda", "--backend", "tract", "7"]));
    snapshot!(transcript(&output), @r#"
    exit code 1
    stdout
    stderr
    error: device `cuda:0` cannot be used by tract
      caused by: it runs on the CPU only
    hint: `--device cpu` runs everywhere
    "#);
    let output = setup.run(&model(&["--device", "cuda:99", "7"]));
    let text = transcript(&output);
    assert!(
        text.starts_with("exit code 1\nstdout\nstderr\nerror: device `cuda:99` cannot be used by ort"),
        "{text}"
    );
}

#[test]
fn bad_lines_of_stdin_are_reported_and_the_others_tagged() {
    let setup = Setup::new();
    let mut stdin = b"set 7 am\r\n\ncall \xff\xfe\nParis\n \t \n".to_vec();
    stdin.extend(["set"; 12].join(" ").bytes());
    stdin.extend(b"\nnew forever");
    let texts = ["32", "2", "1", "18446744073709551615"].map(|batch_size| {
        let mut args =
            model(&["--output-format", "jsonl", "--backend", "tract", "--quiet", "--batch-size", batch_size]);
        args.push("--no-split");
        transcript(&setup.run_with_stdin(&args, &stdin))
    });
    snapshot!(&texts[0], @r#"
    exit code 1
    stdout
    {"text":"set 7 am","spans":[{"start":4,"end":8,"label":"date_time","text":"7 am"}]}
    {"text":"","spans":[]}
    {"error":{"message":"not UTF-8: byte 0xFF at position 6 of the line, byte 17 of the file","hint":"convert the file, for instance from Latin-1 with `iconv -f ISO-8859-1 -t UTF-8`","place":"<stdin>:3"}}
    {"text":"Paris","spans":[{"start":0,"end":5,"label":"place","text":"Paris"}]}
    {"text":" \t ","spans":[]}
    {"text":"set set set set set set set set set set set set","error":{"message":"the sentence has 12 words, the tagger takes at most 11","hint":"have it tagged in parts, which is the default: leave out `--no-split`","place":"<stdin>:6"}}
    {"text":"new forever","spans":[{"start":0,"end":3,"label":"place","text":"new"},{"start":4,"end":11,"label":"forever","text":"forever","unknown":true}]}
    stderr
    error: <stdin>:3: not UTF-8: byte 0xFF at position 6 of the line, byte 17 of the file
    hint: convert the file, for instance from Latin-1 with `iconv -f ISO-8859-1 -t UTF-8`
    error: <stdin>:6: the sentence has 12 words, the tagger takes at most 11
    hint: have it tagged in parts, which is the default: leave out `--no-split`
    "#);
    assert!(texts.iter().all(|text| *text == texts[0]));
}

#[test]
fn long_lines_are_tagged_in_parts_and_words_over_the_limit_are_named() {
    let setup = Setup::new();
    let blob = "set\u{2581}".repeat(1000);
    let stdin = format!("{} Paris\ncall {blob} 7 am\n", ["set"; 30].join(" "));
    let args = model(&["--output-format", "jsonl", "--backend", "tract", "--stats"]);
    let text = transcript(&setup.run_with_stdin(&args, stdin.as_bytes())).replace(&blob, "[BLOB]");
    let text = text.replace(&["set"; 30].join(" "), "[SET x 30]");
    insta::with_settings!({filters => vec![(r"\d+\.\d+ s: \d+\.\d+", "[TIME] s: [SPEED]")]}, {
        insta::assert_snapshot!(text, @r#"
        exit code 0
        stdout
        {"text":"[SET x 30] Paris","spans":[{"start":120,"end":125,"label":"place","text":"Paris"}]}
        {"text":"call [BLOB] 7 am","spans":[{"start":4006,"end":4010,"label":"date_time","text":"7 am"}]}
        stderr
        backend: tract on cpu
        warning: <stdin>:2: word 2 (`set▁set▁set▁set▁set▁...`, 4000 characters) takes more tokens than the tagger does: it was not read and is tagged `O`
        2 sentences (6 parts) in [TIME] s: [SPEED] per second; per sentence 6.50 decoder passes, 49.0 tokens and 1.50 wrong drafts; drafting was given up for 0 sentences
        "#);
    });
}

#[test]
fn words_as_given_keep_their_marks() {
    let setup = Setup::new();
    let args = model(&["--output-format", "jsonl", "--quiet", "--input-format", "words", "paris.  7 am"]);
    snapshot!(transcript(&setup.run(&args)), @r#"
    exit code 0
    stdout
    {"text":"paris.  7 am","spans":[{"start":0,"end":6,"label":"place","text":"paris."},{"start":8,"end":12,"label":"date_time","text":"7 am"}]}
    stderr
    "#);
}

#[test]
fn alignment_by_sentinel_can_be_asked_for() {
    let setup = Setup::new();
    let spans = |rule| {
        let output = setup.run(
            &[&model(&["skip call paris", "--output-format", "jsonl", "--align"])[..], &[rule]].concat(),
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(spans("order").contains(r#""text":"call""#) && spans("sentinel").contains(r#""text":"paris"}"#));
}

#[test]
fn a_program_that_writes_a_line_and_waits_gets_an_answer() {
    let setup = Setup::new();
    let mut child = setup
        .command(&model(&["--output-format", "jsonl", "--quiet"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for word in ["paris", "7"] {
        writeln!(stdin, "{word}").unwrap();
        stdin.flush().unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.contains(&format!(r#""text":"{word}","spans":[{{"#)), "{line}");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_closes_the_pipe_ends_tagging_quietly() {
    let setup = Setup::new();
    let mut child = setup
        .command(&model(&["--output-format", "jsonl", "--quiet"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // The program may be gone before all is written.
    let _ = stdin.write_all("set 7 am\n".repeat(200).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(transcript(&output), "exit code 0\nstdout\nstderr\n");
}

#[test]
fn info_describes_the_file_and_runs_nothing() {
    let setup = Setup::new();
    snapshot!(transcript(&setup.run(&model(&["--info"]))), @r#"
    exit code 0
    stdout
    format                  2
    task                    lexicon
    labels                  date_time, place
    words                   rule punctuation, lowercase true
    max_source_len          22
    max_target_len          24
    pad_token_id            0
    eos_token_id            1
    decoder_start_token_id  0
    decoder_layers          2
    method                  none
    run                     lexicon
    step                    0
    checkpoint_sha256       00
    backbone_sha256         ff
    program                 tests
    tokenizer               [SIZE] bytes
    vocab_size              33
    stderr
    "#);
    snapshot!(transcript(&setup.run(&model(&["--info", "--output-format", "jsonl"]))), @r#"
    exit code 0
    stdout
    {"format":2,"task":"lexicon","labels":["date_time","place"],"words":{"rule":"punctuation","lowercase":true},"max_source_len":22,"max_target_len":24,"pad_token_id":0,"eos_token_id":1,"decoder_start_token_id":0,"decoder_layers":2,"method":"none","run":"lexicon","step":0,"checkpoint_sha256":"00","backbone_sha256":"ff","program":"tests","tokenizer":"[SIZE] bytes","vocab_size":33}
    stderr
    "#);
}

#[test]
fn files_that_are_no_taggers_are_user_errors() {
    let setup = Setup::new();
    setup.file("foreign.onnx", &model_bytes([].into()));
    let bytes = lexicon_bytes(&metadata());
    setup.file("cut.onnx", &bytes[..bytes.len() - 5000]);
    setup.file("text.onnx", b"not a model");
    let run = |name| transcript(&setup.run(&["--model", name, "set"]));
    snapshot!(run("absent.onnx"), @r#"
    exit code 1
    stdout
    stderr
    error: cannot read model `absent.onnx`
      caused by: No such file or directory (os error 2)
    "#);
    snapshot!(run("foreign.onnx"), @r#"
    exit code 1
    stdout
    stderr
    error: cannot use `foreign.onnx` as a tagger
      caused by: not a HyperLoader tagger: metadata `hyperloader.format` is missing
    hint: `hl-export --task TASK` writes one
    "#);
    snapshot!(run("cut.onnx"), @r#"
    exit code 1
    stdout
    stderr
    error: cannot open tagger `cut.onnx`
      caused by: `cut.onnx` is not a whole ONNX model: failed to decode Protobuf message: ModelProto.graph: buffer underflow
    hint: `hl-export --task TASK` writes one; if it did, copy or export the file again
    "#);
    snapshot!(run("text.onnx"), @r#"
    exit code 1
    stdout
    stderr
    error: cannot open tagger `text.onnx`
      caused by: `text.onnx` is not a whole ONNX model: failed to decode Protobuf message: invalid wire type value: 6
    hint: `hl-export --task TASK` writes one; if it did, copy or export the file again
    "#);
}

#[test]
fn mistakes_on_the_command_line_are_user_errors() {
    let setup = Setup::new();
    snapshot!(transcript(&setup.run(&["7"])), @r#"
    exit code 1
    stdout
    stderr
    error: the following required arguments were not provided:
      --model <FILE>...

    Usage: hl-run --model <FILE>... <SENTENCES>...

    For more information, try '--help'.
    "#);
    snapshot!(transcript(&setup.run(&model(&["--device", "gpu", "7"]))), @r#"
    exit code 1
    stdout
    stderr
    error: invalid value 'gpu' for '--device <DEVICE>': unknown device `gpu`, expected `auto`, `cpu`, `cuda` or `cuda:N`

    For more information, try '--help'.
    "#);
    for args in [["--batch-size", "0"], ["--threads", "0"], ["--backend", "onnx"]] {
        let output = setup.run(&model(&args));
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty() && output.stderr.starts_with(b"error: "), "{args:?}");
    }
}

/// ONNX Runtime's builds for Linux keep an id of the machine there before they send data. They do not where tests run in continuous
/// integration.
#[test]
fn onnxruntime_keeps_no_id_of_the_machine_for_usage_data() {
    let setup = Setup::new();
    let place = setup.folder.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut command = setup.command(&["--model", lexicon_tagger().to_str().unwrap(), "paris"]);
    command.env_clear().env("TMPDIR", &place).env("HOME", &place).env("XDG_CACHE_HOME", &place);
    command.envs(native_library().map(|library| ("ORT_DYLIB_PATH", library)));
    assert!(command.output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
}
