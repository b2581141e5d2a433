//! Outputs that are complete or absent, that are continued after any interruption, and Ctrl-C.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{lexicon_bytes, lexicon_tagger, metadata};
use hyperloader_core::format::tagger::TaggerMetadata;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_of(lexicon_tagger(), args)
    }

    fn command_of(&self, model: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.arg("--model").arg(model).args(["--threads", "1", "--quiet"]).args(args);
        let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.native/onnxruntime/lib");
        if let Some(library) =
            std::fs::read_dir(libraries).ok().and_then(|mut files| files.find_map(Result::ok))
        {
            command.env("ORT_DYLIB_PATH", library.path());
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Sentences of all lengths, with blank lines and bad ones.
fn sentences(count: usize) -> Vec<u8> {
    let words = ["set", "7", "am", "paris", "caf\u{e9}", "new", "."];
    let mut out = Vec::new();
    for k in 0..count {
        let sentence: Vec<&str> = (0..k % 9).map(|at| words[(k * 5 + at * 3) % words.len()]).collect();
        out.extend(sentence.join(" ").bytes());
        if k % 97 == 96 {
            out.push(0xff);
        }
        out.push(b'\n');
    }
    out
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_file_is_what_stdout_would_be_and_its_format_follows_from_its_name() {
    let place = Place::new();
    std::fs::write(place.path("a.txt"), sentences(300)).unwrap();
    for (name, format) in [
        ("a.jsonl", "jsonl"),
        ("a.json", "json"),
        ("a.conll", "conll"),
        ("a.tsv", "tsv"),
        ("a.html", "html"),
        ("b.txt", "text"),
        ("a.md", "pretty"),
    ] {
        let stdout = place.run(&["--input", "a.txt", "--output-format", format]);
        let mut args = vec!["--input", "a.txt", "--output", name];
        if name == "a.md" {
            args.extend(["--output-format", "pretty"]);
        }
        // An older file is replaced.
        std::fs::write(place.path(name), "old").unwrap();
        let file = place.run(&args);
        assert_eq!((file.status.code(), &*log(&file)), (Some(1), &*log(&stdout)), "{name}");
        assert!(file.stdout.is_empty() && place.read(name) == stdout.stdout, "{name}");
        if ["jsonl", "conll", "tsv", "text"].contains(&format) {
            std::fs::remove_file(place.path(name)).unwrap();
            args.push("--resume");
            let resumed = place.run(&args);
            assert_eq!(resumed.status.code(), Some(1), "{}", log(&resumed));
            assert!(place.read(name) == stdout.stdout, "{name}");
        }
    }
    assert_eq!(place.names(), ["a.conll", "a.html", "a.json", "a.jsonl", "a.md", "a.tsv", "a.txt", "b.txt"]);
}

#[test]
fn several_inputs_are_one_output_and_colors_stay_out_of_files() {
    let place = Place::new();
    std::fs::write(place.path("a.txt"), "paris\n").unwrap();
    std::fs::write(place.path("b.jsonl"), "{\"id\": 1, \"text\": \"set\"}\n").unwrap();
    let mut child = place
        .command(&["--input", "a.txt", "-", "b.jsonl", "--output", "out.jsonl"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"7 am\n").unwrap();
    assert!(child.wait().unwrap().success());
    let lines = String::from_utf8(place.read("out.jsonl")).unwrap();
    let texts: Vec<&str> = lines.lines().map(|line| line.split('"').nth(3).unwrap()).collect();
    assert_eq!(texts, ["paris", "7 am", "set"]);
    assert!(lines.ends_with("\"spans\":[],\"id\":1}\n"), "{lines}");

    let colored = place.run(&["--color", "always", "--output-format", "pretty", "paris"]);
    assert!(colored.stdout.contains(&0x1b));
    let file = place.run(&["--color", "always", "--output-format", "pretty", "--output", "a.md", "paris"]);
    assert!(file.status.success() && !place.read("a.md").contains(&0x1b));
}

#[test]
fn brat_gets_a_pair_of_files_for_each_input() {
    let place = Place::new();
    std::fs::write(place.path("a.txt"), "set\n\ncaf\u{e9} \u{1F600} paris\nnew\n").unwrap();
    std::fs::write(place.path("b.jsonl"), "{\"text\": \"7\\nam paris\"}\n{}\n{\"text\": \"paris\"}\n")
        .unwrap();
    let output = place.run(&["--input", "a.txt", "b.jsonl", "--output", "out", "--output-format", "brat"]);
    assert_eq!(output.status.code(), Some(1));
    for name in ["a", "b"] {
        let text: Vec<char> =
            String::from_utf8(place.read(&format!("out/{name}.txt"))).unwrap().chars().collect();
        let spans = String::from_utf8(place.read(&format!("out/{name}.ann"))).unwrap();
        assert!(!spans.is_empty());
        for line in spans.lines() {
            let [_, place, covered] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let fragments = place.split_once(' ').unwrap().1.split(';').map(|fragment| {
                let (start, end) = fragment.split_once(' ').unwrap();
                text[start.parse().unwrap()..end.parse().unwrap()].iter().collect::<String>()
            });
            assert_eq!(fragments.collect::<Vec<_>>().join(" "), covered);
        }
    }
    insta::assert_snapshot!(String::from_utf8(place.read("out/b.ann")).unwrap(), @r#"
    T1	date_time 0 1;2 4	7 am
    T2	place 5 10	paris
    T3	place 12 17	paris
    "#);
    insta::assert_snapshot!(String::from_utf8(place.read("out/annotation.conf")).unwrap(), @r#"
    [entities]
    date_time
    place

    [relations]

    [events]

    [attributes]
    "#);
    std::fs::create_dir(place.path("more")).unwrap();
    std::fs::write(place.path("more/a.txt"), "set\n").unwrap();
    let output =
        place.run(&["--input", "a.txt", "more/a.txt", "--output", "out2", "--output-format", "brat"]);
    assert!(log(&output).contains("two inputs would be written to `a.ann`"), "{}", log(&output));
}

/// How often the program is killed; the whole proof takes `HYPERLOADER_KILLS=20`.
fn kills() -> usize {
    std::env::var("HYPERLOADER_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

#[test]
fn an_output_that_is_killed_at_random_instants_and_resumed_is_the_same() {
    let place = Place::new();
    std::fs::write(place.path("a.txt"), sentences(6000)).unwrap();
    let args = |name: &'static str| ["--input", "a.txt", "--batch-size", "2", "--output", name, "--resume"];
    for [whole, cut] in [["whole.jsonl", "cut.jsonl"], ["whole.tsv", "cut.tsv"]] {
        let began = Instant::now();
        assert_eq!(place.run(&args(whole)).status.code(), Some(1));
        let time = began.elapsed().as_secs_f64();
        // A generator of its own: the crate has none.
        let mut seed = u64::from(std::process::id()) * 2_654_435_761 + time.to_bits();
        let (mut killed, mut continued) = (0, 0);
        while killed < kills() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let after = (seed >> 40) as f64 / (1_u64 << 24) as f64 * time * 0.8;
            let mut child = place.command(&args(cut)).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(after));
            match child.try_wait().unwrap() {
                None => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed += 1;
                    continued += usize::from(place.path(&format!("{cut}.partial.json")).exists());
                }
                // It was finished: begin anew.
                Some(_) => std::fs::remove_file(place.path(cut)).unwrap(),
            }
        }
        let last = place.run(&args(cut));
        assert_eq!(last.status.code(), Some(1), "{}", log(&last));
        assert!(place.read(whole) == place.read(cut), "{cut} differs");
        println!("{cut}: {killed} kills within {time:.1} s, {continued} with a beginning to continue");
        assert!(continued > 0);
    }
    let names = place.names();
    assert!(!names.iter().any(|name| name.contains("partial")), "{names:?}");
}

#[test]
fn an_unfinished_output_is_not_continued_for_something_else() {
    let place = Place::new();
    std::fs::write(place.path("a.txt"), sentences(20)).unwrap();
    let mut child = place
        .command(&["--input", "-", "--output", "out.jsonl", "--resume"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"paris\nset\n").unwrap();
    stdin.flush().unwrap();
    while !place.path("out.jsonl.partial").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    // Stdin stays open: its end would finish the output.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    let output = place.run(&["--input", "a.txt", "--output", "out.jsonl", "--resume"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        log(&output).contains("`out.jsonl.partial` was begun with other settings: inputs was"),
        "{}",
        log(&output)
    );
    assert!(!place.path("out.jsonl").exists());
}

#[test]
fn ctrl_c_writes_what_is_complete_and_says_how_far_it_got() {
    let place = Place::new();
    let start = |args: &[&str]| {
        let mut command = place.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start(&["--output-format", "json"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"paris\nset\n").unwrap();
    stdin.flush().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    stdout.read_line(&mut lines).unwrap();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(log(&output), "interrupted after 2 records; they are written\n");
    stdout.read_to_string(&mut lines).unwrap();
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&lines).unwrap().len(), 2);

    let mut child = start(&["--output", "a.jsonl"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"paris\n").unwrap();
    stdin.flush().unwrap();
    // It is ready once its temporary file is there and its handler is set; a little later it waits.
    while place.names().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130), "{}", log(&output));
    assert!(log(&output).contains("the output is not written\nhint: with `--resume`"), "{}", log(&output));
    assert_eq!(place.names(), Vec::<String>::new());
}

/// The output of a program, which is killed after a minute.
fn within_a_minute(mut child: Child) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_short_record_before_one_that_fills_the_queue_is_tagged() {
    let place = Place::new();
    // White space, so that the record has no words and takes no time.
    let long = " ".repeat(17 << 20);
    std::fs::write(place.path("a.txt"), format!("set\n{long}\nparis\n")).unwrap();
    let mut command = place.command(&["--input", "a.txt", "--output", "a.tsv"]);
    let output = within_a_minute(command.stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!((output.status.code(), &*log(&output)), (Some(0), ""));
    assert!(String::from_utf8(place.read("a.tsv")).unwrap().contains("\n3\t0\t5\tplace\tparis\t"));
}

#[cfg(unix)]
#[test]
fn a_file_that_is_read_is_not_replaced_by_the_output() {
    let place = Place::new();
    let model = place.path("m.onnx");
    std::fs::copy(lexicon_tagger(), &model).unwrap();
    for name in ["a.jsonl", "b.jsonl.partial", "g.jsonl", "out.txt"] {
        std::fs::write(place.path(name), "{\"text\": \"set\", \"spans\": []}\n").unwrap();
    }
    std::os::unix::fs::symlink("a.jsonl", place.path("link.jsonl")).unwrap();
    std::fs::hard_link(place.path("a.jsonl"), place.path("hard.jsonl")).unwrap();
    std::fs::create_dir(place.path("out")).unwrap();
    std::fs::rename(place.path("out.txt"), place.path("out/a.txt")).unwrap();
    let before: Vec<Vec<u8>> = ["a.jsonl", "m.onnx", "out/a.txt"].map(|name| place.read(name)).into();
    let cases = [
        ("--input a.jsonl --output a.jsonl", "`a.jsonl`", "the input `a.jsonl`"),
        ("--input a.jsonl --output ./a.jsonl", "`", "the input `a.jsonl`"),
        ("--input link.jsonl --output a.jsonl", "`", "the input `link.jsonl`"),
        ("--input a.jsonl --output link.jsonl", "`", "the input `a.jsonl`"),
        ("--input a.jsonl --output hard.jsonl", "`", "the input `a.jsonl`"),
        ("--input a.jsonl --output hard.jsonl --resume", "`", "the input `a.jsonl`"),
        (
            "--input b.jsonl.partial --input-format jsonl --output b.jsonl --resume",
            "`b.jsonl.partial`",
            "the input `b.jsonl.partial`",
        ),
        ("--input a.jsonl --output m.onnx --output-format jsonl", "`", "the model `"),
        ("--output m.onnx --output-format jsonl set", "`", "the model `"),
        ("--input out/a.txt --output out --output-format brat", "out/a.txt`", "the input `out/a.txt`"),
        ("--gold g.jsonl --output g.jsonl", "`", "the labeled file `g.jsonl`"),
        ("--gold g.jsonl --output m.onnx", "`", "the model `"),
        ("--gold g.jsonl --compare a.jsonl --output a.jsonl", "`", "the model of `--compare` `a.jsonl`"),
    ];
    for (args, written, read) in cases {
        let output = place.command_of(&model, &args.split(' ').collect::<Vec<_>>()).output().unwrap();
        let log = log(&output);
        assert_eq!(output.status.code(), Some(1), "{args}: {log}");
        let expected = "would be replaced by the output: it is the same file as";
        let (found, reason) = log.split_once(expected).unwrap_or_else(|| panic!("{args}: {log}"));
        assert!(found.contains(written) && reason.contains(read), "{args}: {log}");
        assert!(reason.contains("\nhint: name another file with `--output`"), "{args}: {log}");
    }
    // The file that stdin is redirected from is read, too.
    let mut command = place.command(&["--input-format", "jsonl", "--output", "a.jsonl"]);
    let output = command.stdin(std::fs::File::open(place.path("a.jsonl")).unwrap()).output().unwrap();
    assert!(log(&output).contains("same file as the redirected input"), "{}", log(&output));
    let after: Vec<Vec<u8>> = ["a.jsonl", "m.onnx", "out/a.txt"].map(|name| place.read(name)).into();
    assert!(before == after);
    // Files that are not read are replaced.
    let output = place.command_of(&model, &["--output", "a.jsonl", "set"]).output().unwrap();
    assert!(output.status.success() && place.read("a.jsonl") != before[0], "{}", log(&output));
}

/// Leaves an unfinished `out.jsonl` of `a.txt` and of an input that does not end.
fn begin(place: &Place, model: &Path) {
    let args = ["--input", "a.txt", "-", "--output", "out.jsonl", "--resume"];
    let mut child =
        place.command_of(model, &args).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    while std::fs::metadata(place.path("out.jsonl.partial")).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(output.status.code(), Some(130), "{}", log(&output));
    assert!(!place.read("out.jsonl.partial").is_empty());
}

#[test]
fn an_output_is_not_continued_after_an_input_or_the_model_was_changed() {
    let place = Place::new();
    let model = place.path("m.onnx");
    std::fs::copy(lexicon_tagger(), &model).unwrap();
    std::fs::write(place.path("a.txt"), "paris\nset\n").unwrap();
    let args = ["--input", "a.txt", "-", "--output", "out.jsonl", "--resume"];
    let resume = || place.command_of(&model, &args).output().unwrap();
    let later = |path: &Path| {
        let time = std::time::SystemTime::now() + Duration::from_secs(9);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    };
    for changed in [place.path("a.txt"), model.clone()] {
        begin(&place, &model);
        let kept = place.read("out.jsonl.partial");
        later(&changed);
        let output = resume();
        assert_eq!(output.status.code(), Some(1), "{}", log(&output));
        let name = changed.file_name().unwrap().to_str().unwrap();
        let expected = format!("{name}` was changed after `out.jsonl.partial` was begun\nhint: remove `");
        assert!(log(&output).contains(&expected), "{}", log(&output));
        assert!(place.read("out.jsonl.partial") == kept && !place.path("out.jsonl").exists());
        std::fs::remove_file(place.path("out.jsonl.partial")).unwrap();
    }
    // One more model is another output.
    begin(&place, &model);
    let second = lexicon_bytes(&TaggerMetadata { task: "second".into(), ..metadata() });
    std::fs::write(place.path("two.onnx"), second).unwrap();
    let output = place.command_of(&model, &[&["--model", "two.onnx"][..], &args].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = "tasks was [\"lexicon\"], now it is [\"lexicon\",\"second\"]";
    assert!(log(&output).contains(expected), "{}", log(&output));
    std::fs::remove_file(place.path("two.onnx")).unwrap();
    let output = resume();
    assert_eq!(output.status.code(), Some(0), "{}", log(&output));
    assert_eq!(place.read("out.jsonl").iter().filter(|byte| **byte == b'\n').count(), 2);
    assert_eq!(place.names(), ["a.txt", "m.onnx", "out.jsonl"]);
}

#[cfg(unix)]
#[test]
fn a_replaced_output_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
    std::fs::File::create(place.path("usual")).unwrap();
    for args in [&["--output", "a.jsonl", "set"][..], &["--output", "a.jsonl", "--resume", "set"]] {
        assert!(place.run(args).status.success());
        assert_eq!(mode("a.jsonl"), mode("usual"));
        std::fs::set_permissions(place.path("a.jsonl"), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(place.run(args).status.success());
        assert_eq!(mode("a.jsonl"), 0o640);
        std::fs::remove_file(place.path("a.jsonl")).unwrap();
    }
}
