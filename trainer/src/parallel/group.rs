//! Values, errors and work that processes share.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::communicator::{Alone, Communicator};
use super::gradient::sum_of_parts;

/// Why a process ends, as it tells the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// The error with its causes and hints.
    pub message: String,
    /// Whether the program is at fault, rather than its input or the machine.
    pub is_internal: bool,
}

/// Another process failed, and all of them know it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("process {rank} on `{machine}`: {}", .failure.message)]
pub struct PeerFailed {
    /// The number of the process that failed; the lowest, if there are several.
    pub rank: usize,
    /// The machine of that process.
    pub machine: String,
    /// Its error.
    pub failure: Failure,
}

/// What a process contributes to an exchange.
#[derive(Serialize, Deserialize)]
enum Message<T> {
    Value(T),
    Failed { machine: String, failure: Failure },
}

/// The processes of a training.
#[derive(Clone)]
pub struct Group(Rc<dyn Communicator>);

impl Default for Group {
    fn default() -> Self {
        Self::alone()
    }
}

impl Group {
    /// The processes of `communicator`.
    pub fn new(communicator: impl Communicator + 'static) -> Self {
        Self(Rc::new(communicator))
    }

    /// One process.
    pub fn alone() -> Self {
        Self::new(Alone)
    }

    /// The processes themselves.
    pub fn communicator(&self) -> &dyn Communicator {
        &*self.0
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.rank()
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Whether this is process 0, the only one that writes files and prints.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// The values of all processes, in their order.
    ///
    /// # Errors
    /// If another process failed.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, mine: T) -> Result<Vec<T>, PeerFailed> {
        if self.size() == 1 {
            return Ok(vec![mine]);
        }
        self.exchange(&Message::Value(mine))
    }

    fn exchange<T: Serialize + DeserializeOwned>(&self, mine: &Message<T>) -> Result<Vec<T>, PeerFailed> {
        let bytes = postcard::to_stdvec(mine).expect("values of a training can be encoded");
        let incoming = self.0.exchange(&vec![bytes.as_slice(); self.size()]);
        let mut values = Vec::with_capacity(incoming.len());
        for (rank, bytes) in incoming.iter().enumerate() {
            match postcard::take_from_bytes(bytes) {
                Ok((Message::Value(value), [])) => values.push(value),
                Ok((Message::Failed { machine, failure }, [])) => {
                    return Err(PeerFailed { rank, machine, failure });
                }
                // A fault of this program. The others do not know of it: the panic ends them too.
                _ => panic!("process {} cannot read the answer of process {rank}", self.rank()),
            }
        }
        Ok(values)
    }

    /// The value of process 0, which is the only one that has one.
    ///
    /// # Errors
    /// If another process failed.
    pub fn from_first<T: Serialize + DeserializeOwned>(&self, mine: Option<T>) -> Result<T, PeerFailed> {
        let first = self.gather(mine)?.into_iter().next().flatten();
        Ok(first.expect("process 0 has the value"))
    }

    /// Whether `mine` is true in any process.
    ///
    /// # Errors
    /// If another process failed.
    pub fn any(&self, mine: bool) -> Result<bool, PeerFailed> {
        Ok(self.gather(mine)?.contains(&true))
    }

    /// The results of `work` on the numbers below `count`, in their order, in all processes. Process r of n does the work
    /// on every n-th number from r.
    ///
    /// # Errors
    /// The first error of `work`. If another process failed.
    pub fn map<T, E>(&self, count: usize, mut work: impl FnMut(usize) -> Result<T, E>) -> Result<Vec<T>, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<PeerFailed>,
    {
        let mine = (self.rank()..count).step_by(self.size()).map(&mut work).collect::<Result<Vec<T>, E>>()?;
        let mut all: Vec<_> = self.gather(mine)?.into_iter().map(Vec::into_iter).collect();
        // The numbers in order visit the processes in turn.
        Ok((0..count).filter_map(|number| all[number % self.size()].next()).collect())
    }

    /// [`sum_of_parts`] over these processes.
    pub fn sum_of_parts(&self, mine: Vec<Vec<f32>>) -> Vec<f32> {
        sum_of_parts(&*self.0, mine)
    }

    /// Ends the work of the processes: they wait for each other, and one that `failed` says so in the exchange that the
    /// others are at or come to next. A process that ends with [`PeerFailed`] does not call this.
    ///
    /// # Errors
    /// If another process failed, and this one did not.
    pub fn close(&self, failed: Option<Failure>) -> Result<(), PeerFailed> {
        if self.size() == 1 {
            return Ok(());
        }
        let Some(failure) = failed else { return self.exchange(&Message::Value(())).map(drop) };
        let message = Message::<()>::Failed { machine: self.0.machine(), failure };
        let bytes = postcard::to_stdvec(&message).expect("a text can be encoded");
        // The answers belong to the exchange that the others are at.
        drop(self.0.exchange(&vec![bytes.as_slice(); self.size()]));
        Ok(())
    }
}
