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

/// Runs the checks, or says what is missing.
pub(super) fn check() -> Result<()> {
    for program in ["mpirun", "mpicc"] {
        let mut version = Command::new(program);
        let version = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            eprintln!("skipped: `{program}` is missing; `{INSTALL}` installs it");
            return Ok(());
        }
    }
    let place = Place::new()?;
    same(&place)?;
    kills::check(&place)?;
    faults::check(&place)
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
