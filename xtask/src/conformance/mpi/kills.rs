//! Processes killed at random instants: the run goes on with another number of processes, to the same bytes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::place::Place;
use super::runs;

const KILLS: usize = 10;
/// The seed of instants, ranks and numbers of processes.
const SEED: u64 = 18;

pub(super) fn check(place: &Place) -> Result<()> {
    place.configure("hyperloader", "t5-nano", 60)?;
    let began = Instant::now();
    place.mpirun(2, &["--runs", "whole"]).end()?.success()?;
    let whole = began.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (mut killed, mut processes) = (0, 4);
    loop {
        // A run that was killed before its first checkpoint is started once more.
        let begun = place.run("cut").join("manifest.json").exists();
        let arguments = if begun { ["--resume", "cut/run"] } else { ["--runs", "cut"] };
        let mut running = place.mpirun(processes, &arguments).spawn()?;
        if killed == KILLS {
            running.end()?.success()?;
            break;
        }
        let after = whole.mul_f64(random.random_range(0.0..0.5));
        let rank = random.random_range(0..processes);
        std::thread::sleep(after);
        // A process may not be there yet.
        while running.is_running()? && !running.signal_rank("KILL", rank)? {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = running.end()?;
        if ended.status.success() {
            // It was done before the kill: another run is killed from here on.
            compare(place, killed)?;
            std::fs::remove_dir_all(place.path("cut"))?;
            continue;
        }
        killed += 1;
        ensure!(!ended.log.contains("internal error"), "{}", ended.log);
        let next = (processes + random.random_range(0..3)) % 4 + 1;
        eprintln!(
            "kill {killed}: process {rank} of {processes} after {:.2} s of {:.2} s; goes on with {next}",
            after.as_secs_f64(),
            whole.as_secs_f64()
        );
        processes = next;
    }
    compare(place, killed)
}

fn compare(place: &Place, killed: usize) -> Result<()> {
    let files = runs::compare(&place.run("whole"), &place.run("cut"))?;
    eprintln!("after {killed} kills: {files} files byte-identical to those of the uninterrupted run");
    Ok(())
}
