//! The processes that `mpirun` or Slurm started.

use std::time::Duration;

use super::error::{LaunchError, Silence};
use super::group::Group;

/// How this process was started, by the environment.
#[derive(Debug, Clone, Copy)]
pub struct Launched {
    /// The number of this process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
}

/// Environment variables with the number of processes and that of this one: Open MPI's, those of MPICH and of Slurm's
/// PMI, and Slurm's own.
const VARIABLES: [(&str, &str); 3] = [
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
];

/// How this process was started; `None` if neither `mpirun` nor Slurm started it.
pub fn launched() -> Option<Launched> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    VARIABLES.into_iter().find_map(|(size, rank)| Some(Launched { size: number(size)?, rank: number(rank)? }))
}

/// The processes that were started with this one; one if neither `mpirun` nor Slurm started it. A process that gets no
/// answer for `limit` calls `report`, then ends all processes.
///
/// # Errors
/// If several processes were started and cannot be used.
pub fn launch(limit: Duration, report: impl Fn(&Silence) + 'static) -> Result<Group, LaunchError> {
    let Some(Launched { size, .. }) = launched() else { return Ok(Group::alone()) };
    connect(size, limit, report)
}

#[cfg(feature = "mpi")]
fn connect(
    launched: usize,
    limit: Duration,
    report: impl Fn(&Silence) + 'static,
) -> Result<Group, LaunchError> {
    use super::communicator::Communicator;
    let processes = super::mpi::Mpi::start(limit, Box::new(report));
    match processes.as_ref().map_or(0, Communicator::size) {
        connected if connected == launched => Ok(processes.map_or_else(Group::alone, Group::new)),
        connected => Err(LaunchError::NotConnected { launched, connected }),
    }
}

#[cfg(not(feature = "mpi"))]
fn connect(launched: usize, _: Duration, _: impl Fn(&Silence) + 'static) -> Result<Group, LaunchError> {
    match launched {
        1 => Ok(Group::alone()),
        _ => Err(LaunchError::NotBuilt(launched)),
    }
}
