//! Why a training cannot run on several processes.

use std::time::Duration;

/// A training cannot run on the processes that were started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program was built without MPI.
    #[error(
        "{0} processes were started, and this `hl-train` is built for one\nhint: build it with `--features mpi`, or start it without `mpirun`"
    )]
    NotBuilt(usize),
    /// MPI does not work.
    #[error(
        "{launched} processes were started, and MPI connects {connected} of them\nhint: start `hl-train` with the `mpirun` of the MPI that it was built with; under Slurm, `srun --mpi=list` shows what `srun` supports"
    )]
    NotConnected {
        /// The number of processes by the environment.
        launched: usize,
        /// The number of processes by MPI.
        connected: usize,
    },
    /// The command works in one process.
    #[error(
        "{0} processes were started, and only training uses several\nhint: start this command without `mpirun`"
    )]
    OneOnly(usize),
}

/// Processes that have not answered.
#[derive(Debug, thiserror::Error)]
#[error(
    "no answer from process {} for {} s\nhint: it may be stopped, or its machine or network may be down; `hl-train --resume` continues from the last checkpoint; `--process-timeout` sets the time",
    .ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    .waited.as_secs()
)]
pub struct Silence {
    /// The numbers of the processes.
    pub ranks: Vec<usize>,
    /// How long this process waited.
    pub waited: Duration,
}
