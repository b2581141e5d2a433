//! Whatever fails in one process, the job ends with one clear message, and a run that has begun can be resumed.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::place::{Ended, Place, Running};
use super::{backbone, runs};
use crate::commands::{self, root};

/// A token of the BERT's vocabulary that is in no corpus of the check.
const TOKEN: &str = "!";

pub(super) fn check(place: &Place) -> Result<()> {
    place.configure("lora", "t5-nano", 40)?;
    place.mpirun(2, &["--runs", "faultless"]).end()?.success()?;
    for before in [too_many, other_seed, other_corpus, other_program, other_threads, no_backbone, no_folder] {
        before(place)?;
    }
    not_built(place)?;
    one_only(place)?;
    for during in [killed, stopped, full_disk, interrupted, terminated] {
        during(place)?;
    }
    no_number(place)
}

/// Checks that the one error of the log, if there is any of ours, contains `message`, and that the job failed.
fn expect(what: &str, ended: &Ended, message: &str) -> Result<()> {
    let Ended { status, log } = ended;
    ensure!(!status.success(), "{what}: it ended with {status}:\n{log}");
    let errors = log.lines().filter(|line| line.starts_with("error: ")).count();
    let expected = usize::from(message.starts_with("error: "));
    ensure!(errors == expected && log.contains(message), "{what}: expected `{message}` once:\n{log}");
    let line = log.lines().find(|line| line.contains(message)).unwrap_or(message);
    eprintln!("{what}: {line}");
    Ok(())
}

/// A fault before a run begins: no folder is left.
fn before(place: &Place, what: &str, ended: &Ended, message: &str) -> Result<()> {
    expect(what, ended, message)?;
    ensure!(!place.path("fault").exists(), "{what}: a run was created");
    Ok(())
}

/// A fault during a run, which is then resumed by another number of processes.
fn during(place: &Place, what: &str, ended: &Ended, message: &str) -> Result<()> {
    expect(what, ended, message)?;
    place.mpirun(3, &["--resume", "fault/run"]).end()?.success()?;
    let files = runs::compare(&place.run("faultless"), &place.run("fault"))?;
    eprintln!("  resumed: {files} files byte-identical");
    Ok(fs::remove_dir_all(place.path("fault"))?)
}

/// Two processes whose commands differ: the words of process 0 and those of process 1 after the program.
fn two(place: &Place, first: &[&str], second: &[&str]) -> Result<Ended> {
    let program = place.program();
    let same = [&program, "--quiet", "--runs", "fault"];
    let [first, second] = [first, second].map(|more| [&same[..], more].concat());
    place.mixed(&[(1, &first), (1, &second)]).end()
}

fn too_many(place: &Place) -> Result<()> {
    let ended = place.mpirun(5, &["--runs", "fault"]).end()?;
    before(place, "five processes", &ended, "error: 5 processes cannot share the 4 parts of a batch")
}

fn other_seed(place: &Place) -> Result<()> {
    let ended = two(place, &[], &["--seed", "7"])?;
    before(place, "another seed", &ended, "error: process 1")?;
    ensure!(ended.log.contains("another `seed`: 7, process 0 has 42"), "not named:\n{}", ended.log);
    Ok(())
}

fn other_corpus(place: &Place) -> Result<()> {
    let original = root().join("fixtures/corpora/mit_movie/engtrain.bio");
    fs::write(place.path("other.bio"), fs::read_to_string(original)?.replacen("how", "why", 1))?;
    let corpora = fs::canonicalize(root().join("fixtures/corpora"))?;
    let from = format!("train = \"{}/mit_movie/engtrain.bio\"", corpora.display());
    let config = place.variant("other.toml", &from, "train = \"other.bio\"")?;
    let ended = two(place, &[], &["--config", &config])?;
    before(place, "another corpus", &ended, "error: process 1")?;
    let named = ended.log.contains("another SHA-256 of the training sentences of task `movie`");
    ensure!(named, "the corpus is not named:\n{}", ended.log);
    Ok(())
}

fn other_program(place: &Place) -> Result<()> {
    let other = place.path("other");
    // One more byte after the program does not change what it does.
    fs::copy(place.program(), &other)?;
    let mut bytes = fs::read(&other)?;
    bytes.push(0);
    fs::write(&other, bytes)?;
    let (program, other) = (place.program(), other.display().to_string());
    let words = |program| [program, "--quiet", "--runs", "fault"];
    let ended = place.mixed(&[(1, &words(&program)), (1, &words(&other))]).end()?;
    before(place, "another program", &ended, "error: process 1")?;
    ensure!(ended.log.contains("another SHA-256 of the program"), "not named:\n{}", ended.log);
    Ok(())
}

fn other_threads(place: &Place) -> Result<()> {
    let ended = two(place, &[], &["--threads", "2"])?;
    before(place, "other threads", &ended, "error: process 1")?;
    ensure!(ended.log.contains("another number of threads"), "not named:\n{}", ended.log);
    Ok(())
}

fn no_backbone(place: &Place) -> Result<()> {
    let ended = two(place, &[], &["--backbone", "./none"])?;
    before(place, "no backbone in process 1", &ended, "error: process 1 on")
}

fn no_folder(place: &Place) -> Result<()> {
    fs::write(place.path("file"), "")?;
    let ended = place.mpirun(3, &["--runs", "file/runs"]).end()?;
    before(place, "a run folder that cannot be created", &ended, "error: cannot")
}

fn not_built(place: &Place) -> Result<()> {
    let program = place.path("without/hl-train").display().to_string();
    let ended = place.mixed(&[(3, &[&program, "--quiet", "--runs", "fault"])]).end()?;
    before(place, "a program without MPI", &ended, "error: 3 processes were started, and this `hl-train`")
}

fn one_only(place: &Place) -> Result<()> {
    let program = place.program();
    let ended = place.mixed(&[(2, &[&program, "params"])]).end()?;
    before(place, "another command", &ended, "error: 2 processes were started, and only training")
}

/// A training of three processes that has done some steps.
fn begun(place: &Place, more: &[&str]) -> Result<Running> {
    let program = place.program();
    let words = [&[&program, "--no-progress", "--runs", "fault"][..], more].concat();
    let mut running = place.mixed(&[(3, &words)]).spawn()?;
    running.wait_for(&place.run("fault").join("metrics.jsonl"), "\"step\":12,")?;
    Ok(running)
}

fn killed(place: &Place) -> Result<()> {
    let running = begun(place, &[])?;
    ensure!(running.signal_rank("KILL", 2)?, "there is no process 2");
    during(place, "process 2 killed", &running.end()?, "exited on signal 9 (Killed)")
}

fn stopped(place: &Place) -> Result<()> {
    let running = begun(place, &["--process-timeout", "6"])?;
    ensure!(running.signal_rank("STOP", 1)?, "there is no process 1");
    during(place, "process 1 stopped", &running.end()?, "error: no answer from process 1 for 6 s")
}

fn full_disk(place: &Place) -> Result<()> {
    let program = place.program();
    // A limit of the size of files fails as a full disk does: writes return an error.
    let first = format!("trap '' XFSZ; exec {program} --quiet --runs fault");
    let others = [&program, "--quiet", "--runs", "fault"];
    let mut running = place.mixed(&[(1, &["bash", "-c", &first]), (2, &others)]).spawn()?;
    running.wait_for(&place.run("fault").join("metrics.jsonl"), "\"step\":12,")?;
    let id = running.rank(0)?.context("there is no process 0")?.to_string();
    commands::run(Command::new("prlimit").args(["--pid", &id, "--fsize=1024:1024"]))?;
    during(place, "a full disk of process 0", &running.end()?, "error: cannot write")
}

fn interrupted(place: &Place) -> Result<()> {
    let running = begun(place, &[])?;
    running.signal("INT")?;
    during(place, "Ctrl-C", &running.end()?, "stopped after step")
}

fn terminated(place: &Place) -> Result<()> {
    let running = begun(place, &[])?;
    running.signal("TERM")?;
    during(place, "SIGTERM", &running.end()?, "stopped after step")
}

/// The loss of one sentence is no number, so that of one part, and so that of the step in all processes.
fn no_number(place: &Place) -> Result<()> {
    place.configure("unipelt-bert", "bert-tiny", 40)?;
    let tiny = root().join("fixtures/backbones/bert-tiny");
    backbone::write(&tiny, &place.path("large"), TOKEN)?;
    let corpus = root().join("fixtures/corpora/mit_movie/engtrain.bio");
    let lines = fs::read_to_string(corpus)?;
    let token = format!("O\t{TOKEN}\n");
    fs::write(place.path("one.bio"), lines.replacen("\n\n", &format!("\n{token}\n"), 1))?;
    let corpora = fs::canonicalize(root().join("fixtures"))?;
    let from = format!("train = \"{}/corpora/mit_movie/engtrain.bio\"", corpora.display());
    place.variant("hyperloader.toml", &from, "train = \"one.bio\"")?;
    let arguments = ["--runs", "fault", "--backbone", "./large"];
    let ended = place.mpirun(3, &arguments).end()?;
    expect("a loss that is no number in one process", &ended, "error: loss is NaN at step")?;
    let error = |ended: &Ended| ended.log.lines().find(|line| line.starts_with("error: ")).map(str::to_owned);
    // The run goes on from the step before, to the same error.
    let again = place.mpirun(2, &["--resume", "fault/run"]).end()?;
    ensure!(error(&again) == error(&ended), "resumed, it ends otherwise:\n{}", again.log);
    eprintln!("  resumed by two processes: the same error");
    Ok(())
}
