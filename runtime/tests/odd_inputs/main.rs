//! Bad and odd inputs over all formats: the exit code, no panic, and as many records out as in.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod rows;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Result, ensure};
use common::lexicon_tagger;
use rows::{Row, long, rows, texts};
use serde_json::Value;

fn hl_run(folder: &Path, model: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hl-run"));
    command
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .arg("--model")
        .arg(model)
        .args(args)
        .stdin(Stdio::null());
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.native/onnxruntime/lib");
    if let Some(library) = std::fs::read_dir(libraries).ok().and_then(|mut files| files.find_map(Result::ok))
    {
        command.env("ORT_DYLIB_PATH", library.path());
    }
    command
}

/// Runs a row in a format.
fn run(row: &Row, model: &Path, format: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut args = vec!["--quiet", "--threads", "1", "--output-format", format];
    args.extend(row.args.split_whitespace());
    if !row.file.is_empty() {
        std::fs::write(folder.path().join(row.file), &row.content).unwrap();
        args.extend(["--input", row.file]);
        return hl_run(folder.path(), model, &args).output().unwrap();
    }
    let mut command = hl_run(folder.path(), model, &args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(&row.content).unwrap());
        child.wait_with_output().unwrap()
    })
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Records and errors of a row, after all that holds for every row was checked.
fn checked(row: &Row, model: &Path) -> Result<(usize, usize)> {
    let output = run(row, model, "jsonl");
    let log = stderr(&output);
    let stdout = String::from_utf8(output.stdout)?;
    ensure!(stdout.is_empty() || stdout.ends_with('\n'), "a cut line");
    let lines: Vec<Value> = stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let is_error = |line: &&Value| line.get("error").is_some();
    let errors = lines.iter().filter(is_error).count();
    ensure!(
        lines.iter().all(|line| is_error(&line) != line["spans"].is_array()),
        "neither spans nor an error"
    );
    ensure!(output.status.code() == Some(i32::from(errors > 0)), "{}: {log}", output.status);
    ensure!(
        log.lines().filter(|line| line.starts_with("error: ")).count() == errors,
        "{errors} errors: {log}"
    );
    ensure!(!log.contains("internal error"), "{log}");
    ensure!(lines.len() == row.records, "{} records: {log}", lines.len());
    ensure!(row.errors.is_none_or(|expected| expected == errors), "{errors} errors: {log}");
    Ok((lines.len(), errors))
}

/// Checks all rows and names those that fail.
fn check(rows: &[Row], check: impl Fn(usize, &Row) -> Result<()>) {
    let failed = |(at, row): (usize, &Row)| {
        check(at, row)
            .err()
            .map(|error| format!("{}: {error}", row.name).chars().take(500).collect::<String>())
    };
    let failed: Vec<String> = rows.iter().enumerate().filter_map(failed).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn each_record_has_its_record_whatever_it_is() {
    let rows = rows();
    assert!(rows.len() >= 100, "{}", rows.len());
    check(&rows, |_, row| checked(row, lexicon_tagger()).map(drop));
}

#[test]
fn each_format_has_as_many_records() {
    let mut rows = rows();
    // None that takes long.
    rows.retain(|row| row.content.len() < 10_000 && row.records > 0);
    check(&rows, |at, row| {
        let format = ["text", "pretty", "json", "conll", "tsv", "html"][at % 6];
        let output = run(row, lexicon_tagger(), format);
        let log = stderr(&output);
        ensure!(!log.contains("internal error"), "{format}: {log}");
        if let Some(errors) = row.errors {
            ensure!(
                output.status.code() == Some(i32::from(errors > 0)),
                "{format}: {}: {log}",
                output.status
            );
        }
        let out = String::from_utf8(output.stdout)?;
        let records = match format {
            "json" => serde_json::from_str::<Vec<Value>>(&out)?.len(),
            "conll" => out.matches("\n\n").count() - out.matches("-DOCSTART-").count(),
            "html" => out.matches("<li ").count(),
            // Texts of several lines, blank ones and those without spans do not tell.
            _ => row.records,
        };
        ensure!(records == row.records, "{format}: {records} records\n{out}");
        Ok(())
    });
}

#[test]
fn many_records_share_one_model() {
    // The fixture has the vocabulary of T5 and tags at random.
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/format/2/tagger.onnx");
    let mut rows = texts();
    rows.retain(|row| row.content.len() <= 100_000 && std::str::from_utf8(&row.content).is_ok());
    let all: Vec<String> = rows
        .iter()
        .flat_map(|row| std::str::from_utf8(&row.content).unwrap().lines())
        .take(200)
        .map(str::to_owned)
        .collect();
    let content = all.iter().map(|line| format!("{line}\n")).collect::<String>();
    let records = content.matches('\n').count();
    checked(&Row { records, ..long("all of them", "a.txt", content, 0) }, &model).unwrap();
}

/// Places that cannot be read or written: arguments, whether an output file appears, exit code, part of the message.
#[test]
fn places_that_cannot_be_read_or_written_are_named_before_anything_is_tagged() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "set\n").unwrap();
    std::fs::write(folder.path().join("a.unknown"), "set\n").unwrap();
    std::fs::write(folder.path().join("a.conllu"), "1\tset\n").unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    let cases: [(&str, &str); 20] = [
        ("--input absent.txt", "cannot read `absent.txt`"),
        ("--input a.txt absent.txt", "cannot read `absent.txt`"),
        ("--input folder", "cannot read `folder`"),
        ("--input folder --input-format conll", "cannot read `folder`"),
        ("--input a.unknown", "does not follow from its name\nhint: "),
        ("--input a.conllu", "is CoNLL-U: say which"),
        ("--input - -", "stdin can be read only once"),
        ("--input a.txt --columns tag", "invalid value 'tag' for '--columns"),
        ("--input a.txt --delimiter ab", "invalid value 'ab' for '--delimiter"),
        ("--input a.txt --output a", "the format of `a` does not follow from its name"),
        ("--input a.txt --output a.jsonl.gz", "outputs are not compressed"),
        ("--input a.txt --output folder --output-format jsonl", "`folder` is a folder"),
        ("--input a.txt --output absent/a.jsonl", "cannot write `absent/a.jsonl`"),
        ("--input a.txt --output /dev/full --output-format jsonl", "`/dev/full` is a device or a pipe"),
        ("--input a.txt --output-format brat", "`brat` has several files"),
        ("--input a.txt --output a.txt --output-format brat", "`a.txt` is a file"),
        ("--input a.txt --output a.html --resume", "`html` cannot be continued"),
        ("--input a.txt --resume", "--output <FILE>"),
        ("--info --output-format html", "metadata cannot be printed as `html`"),
        ("--input-format jsonl set", "arguments are sentences"),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = args.split(' ').collect();
        let output = hl_run(folder.path(), lexicon_tagger(), &args).output().unwrap();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {log}");
        assert!(log.starts_with("error: ") && log.contains(message), "{args:?}: {log}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    if !hyperloader_core::parquet::IS_BUILT {
        std::fs::write(folder.path().join("a.unknown"), "PAR1").unwrap();
        for args in ["--input a.unknown --input-format parquet", "--input a.txt --output a.parquet"] {
            let args: Vec<&str> = args.split(' ').collect();
            let output = hl_run(folder.path(), lexicon_tagger(), &args).output().unwrap();
            let message = "error: hl-run was built without Parquet\nhint: build with `--features parquet`\n";
            assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(1), message), "{args:?}");
        }
    }
    // Nothing was written.
    let mut left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.conllu", "a.txt", "a.unknown", "folder"]);
}

#[cfg(target_os = "linux")]
#[test]
fn devices_pipes_and_rights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |args: &[&str]| hl_run(folder.path(), lexicon_tagger(), args).output().unwrap();
    let jsonl = ["--quiet", "--output-format", "jsonl"];

    let output = run(&[&jsonl[..], &["--input", "/dev/null", "--input-format", "text"]].concat());
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{}", stderr(&output));

    // A pipe by name, as `<(...)` makes them.
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let writer = path("pipe");
    let thread = std::thread::spawn(move || std::fs::write(writer, "set\nparis\n").unwrap());
    let output = run(&[&jsonl[..], &["--input", "pipe", "--input-format", "text"]].concat());
    thread.join().unwrap();
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2, "{}", stderr(&output));

    // A full disk.
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for format in ["text", "pretty", "json", "jsonl", "conll", "tsv", "html"] {
        let mut command =
            hl_run(folder.path(), lexicon_tagger(), &["--quiet", "--output-format", format, "paris"]);
        let output = command.stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        assert!(
            stderr(&output).starts_with("error: cannot write to stdout\n"),
            "{format}: {}",
            stderr(&output)
        );
    }

    // Files that may not be read and folders that may not be written; root may do both.
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path("closed.txt"), "set\n").unwrap();
    std::fs::set_permissions(path("closed.txt"), std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::create_dir(path("closed")).unwrap();
    std::fs::set_permissions(path("closed"), std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::File::open(path("closed.txt")).is_err() {
        for args in [["--input", "closed.txt"], ["--output", "closed/a.jsonl"]] {
            let output = run(&args);
            assert_eq!(output.status.code(), Some(1));
            assert!(
                stderr(&output).contains("Permission denied")
                    || stderr(&output).contains("permission denied")
            );
        }
    }

    // A symbolic link is followed, and stays.
    std::fs::write(path("real.jsonl"), "old").unwrap();
    std::os::unix::fs::symlink("real.jsonl", path("link.jsonl")).unwrap();
    let output = run(&["--quiet", "--output", "link.jsonl", "paris"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(std::fs::read_to_string(path("real.jsonl")).unwrap().starts_with("{\"text\":\"paris\""));
    assert!(path("link.jsonl").is_symlink());
}
