//! Fuzzing of every parser on stable Rust: seeds are replayed as they are, then damaged in many ways. A parser may refuse its
//! input; it may not panic, hang or use unbounded memory.
//!
//! Seeds are files of `fixtures/`, and `fixtures/fuzz/TARGET/*` with inputs that once were a fault. A few hundred inputs per
//! target are tried in the test suite; `HYPERLOADER_FUZZ_SECONDS=600 cargo test --workspace --test fuzz` tries ten minutes
//! per target, and prints how many inputs that were.
//!
//! - [`damage`]: the ways in which a seed is damaged
//! - [`targets`]: the parsers

#![allow(clippy::print_stdout, reason = "a long run tells how much was tried")]

mod damage;
mod targets;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hyperloader_tests::fixture;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::damage::damaged;

/// Inputs that are tried per target without the variable.
const QUICK: u32 = 200;
/// No input of a few kilobytes may take longer than this.
const SLOW: Duration = Duration::from_secs(20);

/// Duration of a long run.
fn duration() -> Option<Duration> {
    let seconds = std::env::var("HYPERLOADER_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("HYPERLOADER_FUZZ_SECONDS is a number of seconds")))
}

/// Processor time of this thread, where the system tells it: an input is not slow because the machine is busy.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// The seeds in `fixtures/fuzz/TARGET`, sorted.
fn found_before(target: &str) -> Vec<Vec<u8>> {
    let folder = fixture("fuzz").join(target);
    let Ok(entries) = std::fs::read_dir(&folder) else { return vec![] };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

/// Replays `seeds`, and feeds damaged ones to `parse`, which says whether it accepted its input.
fn fuzz(target: &str, mut seeds: Vec<Vec<u8>>, parse: impl Fn(&[u8]) -> bool) {
    seeds.extend(found_before(target));
    assert!(!seeds.is_empty(), "{target} has no seed");
    let (inputs, accepted) = (Cell::new(0_u64), Cell::new(0_u64));
    let run = |input: &[u8]| {
        let (began, used) = (Instant::now(), processor_time());
        let is_accepted = parse(input);
        inputs.set(inputs.get() + 1);
        accepted.set(accepted.get() + u64::from(is_accepted));
        match (used, processor_time()) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => began.elapsed(),
        }
    };
    for seed in &seeds {
        let _ = run(seed);
    }
    assert!(accepted.get() > 0, "{target}: no seed is accepted");
    let began = Instant::now();
    let strategy = damaged(seeds);
    loop {
        let config = Config { cases: QUICK, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&strategy, |input| match run(&input) {
            took if took > SLOW => Err(TestCaseError::fail(format!("it took {took:?}"))),
            _ => Ok(()),
        });
        if let Err(TestError::Fail(reason, input)) = result {
            let path = std::env::temp_dir().join(format!("fuzz-{target}"));
            std::fs::write(&path, &input).expect("the input that failed");
            panic!(
                "{target}: {reason}; the input is in `{}`, move it to `fixtures/fuzz/{target}`",
                path.display()
            );
        }
        if duration().is_none_or(|duration| began.elapsed() >= duration) {
            break;
        }
    }
    let (inputs, accepted) = (inputs.get(), accepted.get());
    println!("{target}: {inputs} inputs, {accepted} accepted, {:.0} s", began.elapsed().as_secs_f64());
}
