//! Training on several processes, with the bytes of one that has equal `--parts` and `--threads`.
//!
//! Each process has the whole model and computes some parts of each batch. All processes call the same functions of
//! [`Group`] in the same order; a process that fails takes part in the next exchange with its error, so that the others
//! end too.
//!
//! - [`Communicator`] (`communicator`): the exchange of bytes between processes, and the process that is alone.
//! - [`Group`] (`group`): values, errors and work that processes share.
//! - [`sum_of_parts`] (`gradient`): the sum of the gradients of all parts, in the order of the parts.
//! - [`launch()`] (`launch`): the processes that `mpirun` or Slurm started.
//! - `mpi`: the processes of MPI; with the feature `mpi`.
//! - [`LaunchError`], [`Silence`] (`error`).

mod communicator;
mod error;
mod gradient;
mod group;
mod launch;
#[cfg(feature = "mpi")]
mod mpi;

pub use communicator::{Alone, Communicator};
pub use error::{LaunchError, Silence};
pub use gradient::{share, sum_of_parts};
pub use group::{Failure, Group, PeerFailed};
pub use launch::{Launched, launch, launched};
