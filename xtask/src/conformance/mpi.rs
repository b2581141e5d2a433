//! `cargo xtask conformance mpi`: training on several processes with Open MPI.
//!
//! - [`place`]: a folder with both builds of `hl-train`, and processes started in it
//! - [`runs`]: comparison of run folders
//! - [`kills`]: processes killed at random instants
//! - [`faults`]: one message and a run that can be resumed, whatever fails
//! - [`backbone`]: a backbone that makes the loss of some sentences no number

mod backbone;
mod faults;
mod kills;
mod place;
mod runs;

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::place::Place;

/// How to install what the check needs.
const INSTALL: &str = "apt-get install openmpi-bin libopenmpi-dev libclang-dev";

/// Methods whose runs are compared, with their backbone.
const METHODS: [(&str, &str); 4] = [
    ("hyperloader", "t5-nano"),
    ("hyperdecoder", "t5-nano"),
    ("lora", "t5-nano"),
    ("unipelt-bert", "bert-tiny"),
];

/// A part of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Equal bytes of 1 to 4 processes, with four methods
    Same,
    /// Processes killed at random instants
    Kills,
    /// One message for each fault
    Faults,
}

/// Which parts of the check `mpi` run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of the check `mpi`")]
#[group(id = "mpi-options")]
pub(crate) struct Options {
    /// Run only these parts
    #[arg(long = "mpi-part", value_name = "PART", value_enum)]
    parts: Vec<Part>,
}

/// Runs the parts, or says what is missing.
pub(super) fn check(options: &Options) -> Result<()> {
    for program in ["mpirun", "mpicc"] {
        let mut version = Command::new(program);
        let version = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            eprintln!("skipped: `{program}` is missing; `{INSTALL}` installs it");
            return Ok(());
        }
    }
    let place = Place::new()?;
    let all = Part::value_variants();
    for part in if options.parts.is_empty() { all } else { &options.parts[..] } {
        match part {
            Part::Same => same(&place)?,
            Part::Kills => kills::check(&place)?,
            Part::Faults => faults::check(&place)?,
        }
    }
    Ok(())
}

/// One process without MPI, and 1, 2, 3 and 4 with it, write the same run.
fn same(place: &Place) -> Result<()> {
    for (method, backbone) in METHODS {
        place.configure(method, backbone, 60)?;
        let began = Instant::now();
        let one = format!("{method}-alone");
        place.alone(&["--runs", &one]).end()?.success()?;
        let alone = began.elapsed().as_secs_f64();
        for processes in 1..=4 {
            let (began, runs) = (Instant::now(), format!("{method}-{processes}"));
            place.mpirun(processes, &["--runs", &runs]).end()?.success()?;
            let files = runs::compare(&place.run(&one), &place.run(&runs))?;
            eprintln!(
                "{method}, mpirun -n {processes}: {files} files byte-identical to those of one process without MPI \
                 ({:.0} s, alone {alone:.0} s)",
                began.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}
