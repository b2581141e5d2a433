//! The exchange of bytes between processes, and the process that is alone.

/// Processes that exchange bytes. All of them call the same methods in the same order.
pub trait Communicator {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// The number of this process among those on its machine, from 0.
    fn local_rank(&self) -> usize;

    /// The number of processes on this machine.
    fn local_size(&self) -> usize;

    /// Name of this machine, for messages.
    fn machine(&self) -> String;

    /// Sends `outgoing[r]` to each process r and returns what each process sent to this one, in the order of the processes.
    /// It does not return if a process is lost.
    fn exchange(&self, outgoing: &[&[u8]]) -> Vec<Vec<u8>>;
}

/// One process.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn local_size(&self) -> usize {
        1
    }

    fn machine(&self) -> String {
        "this machine".to_owned()
    }

    fn exchange(&self, outgoing: &[&[u8]]) -> Vec<Vec<u8>> {
        outgoing.iter().map(|bytes| bytes.to_vec()).collect()
    }
}
