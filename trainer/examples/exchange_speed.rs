//! Seconds of the exchange of gradients between the processes of a training, for a model with COUNT trainable numbers and
//! batches of PARTS parts: docs/distributed.md#speed.
//!
//! `mpirun --bind-to none -n 2 target/release/examples/exchange_speed [COUNT] [PARTS] [TIMES]`, built with
//! `--features mpi`
#![allow(clippy::print_stdout)] // The figures are its data.

use std::time::{Duration, Instant};

use anyhow::Result;
use hyperloader_trainer::parallel::{launch, share};
use serde_json::json;

/// The trainable numbers of HyperLoader on a T5-base with seven tasks, as `hl-train params` counts them.
const COUNT: usize = 6_784_368;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let mut next = |default: usize| arguments.next().transpose().map(|value| value.unwrap_or(default));
    let (count, parts, times) = (next(COUNT)?, next(4)?, next(20)?);
    let group = launch(Duration::from_secs(60), |_| ())?;
    let mut seconds = Vec::new();
    for _ in 0..times {
        let mine: Vec<Vec<f32>> =
            share(group.rank(), group.size(), parts).map(|part| vec![part as f32; count]).collect();
        group.any(false)?;
        let began = Instant::now();
        let sum = group.sum_of_parts(mine);
        seconds.push(began.elapsed().as_secs_f64());
        anyhow::ensure!(sum.iter().all(|x| *x == (0..parts).sum::<usize>() as f32), "a wrong sum");
    }
    seconds.sort_by(f64::total_cmp);
    if group.is_first() {
        let median = seconds[times / 2];
        println!(
            "{}",
            json!({ "processes": group.size(), "parts": parts, "numbers": count, "seconds": median })
        );
    }
    Ok(())
}
