//! The processes of MPI.
//!
//! Sends and receives do not block: a blocking call would wait for ever for a process that is stopped.

use std::thread::{sleep, yield_now};
use std::time::{Duration, Instant};

use mpi::environment::{Universe, processor_name};
use mpi::request::{RequestCollection, multiple_scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, Destination, Source};
use mpi::{Threading, initialize_with_threading};

use super::communicator::Communicator;
use super::error::Silence;

/// The most bytes of a message, whose length MPI counts in 32 bits.
const LONGEST: usize = 1 << 30;
/// How long a process looks for the lengths of messages without pauses: the others may still compute.
const BRIEFLY: Duration = Duration::from_millis(1);
/// The same for the messages, whose parts MPI moves only when a process looks.
const PERSISTENTLY: Duration = Duration::from_secs(1);
/// A pause between two looks.
const PAUSE: Duration = Duration::from_micros(50);
/// Process r waits r times this longer before it reports that another does not answer, so that only one process reports it.
const TURN: Duration = Duration::from_secs(5);

/// The processes that MPI connects.
pub(super) struct Mpi {
    world: SimpleCommunicator,
    local: (usize, usize),
    limit: Duration,
    report: Box<dyn Fn(&Silence)>,
    /// Its drop ends MPI, after that of the fields above.
    _universe: Universe,
}

impl Mpi {
    /// Connects the processes that were started together; `None` if this was done before.
    pub(super) fn start(limit: Duration, report: Box<dyn Fn(&Silence)>) -> Option<Self> {
        let (universe, _) = initialize_with_threading(Threading::Funneled)?;
        let world = universe.world();
        let here = world.split_shared(world.rank());
        let local = (here.rank() as usize, here.size() as usize);
        drop(here);
        Some(Self { world, local, limit, report, _universe: universe })
    }

    /// Sends each of `outgoing` to its process and receives into `incoming`, which have the right lengths. Looks for `busy`
    /// without pauses.
    fn transfer(&self, outgoing: &[&[u8]], incoming: &mut [Vec<u8>], busy: Duration) {
        let pieces = |bytes: &Vec<u8>| bytes.len().div_ceil(LONGEST);
        let reserve = incoming.iter().map(pieces).sum::<usize>()
            + outgoing.iter().map(|bytes| bytes.len().div_ceil(LONGEST)).sum::<usize>();
        multiple_scope(reserve, |scope, requests| {
            // The process that each request waits for, in the order of the requests.
            let mut partners = Vec::with_capacity(reserve);
            for (rank, bytes) in incoming.iter_mut().enumerate() {
                for piece in bytes.chunks_mut(LONGEST) {
                    let source = self.world.process_at_rank(rank as i32);
                    requests.add(source.immediate_receive_into(scope, piece));
                    partners.push(rank);
                }
            }
            for (rank, bytes) in outgoing.iter().enumerate() {
                for piece in bytes.chunks(LONGEST) {
                    let destination = self.world.process_at_rank(rank as i32);
                    requests.add(destination.immediate_send(scope, piece));
                    partners.push(rank);
                }
            }
            self.complete(requests, &partners, busy);
        });
    }

    /// Waits until all requests are complete.
    fn complete(&self, requests: &mut RequestCollection<'_, [u8]>, partners: &[usize], busy: Duration) {
        let began = Instant::now();
        let limit = self.limit + TURN * self.rank() as u32;
        let mut open: Vec<bool> = vec![true; partners.len()];
        let mut done = Vec::new();
        while requests.incomplete() > 0 {
            done.clear();
            requests.test_some(&mut done);
            done.iter().for_each(|(at, ..)| open[*at] = false);
            match began.elapsed() {
                waited if waited < busy => yield_now(),
                waited if waited < limit => sleep(PAUSE),
                waited => self.give_up(&open, partners, waited),
            }
        }
    }

    fn give_up(&self, open: &[bool], partners: &[usize], waited: Duration) -> ! {
        let mut ranks: Vec<usize> =
            open.iter().zip(partners).filter(|(open, _)| **open).map(|(_, rank)| *rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        (self.report)(&Silence { ranks, waited });
        self.world.abort(1)
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn local_rank(&self) -> usize {
        self.local.0
    }

    fn local_size(&self) -> usize {
        self.local.1
    }

    fn machine(&self) -> String {
        processor_name().unwrap_or_else(|_| "unknown".to_owned())
    }

    fn exchange(&self, outgoing: &[&[u8]]) -> Vec<Vec<u8>> {
        let me = self.rank();
        let to_others = |mut all: Vec<Vec<u8>>| {
            all[me].clear();
            all
        };
        // First the lengths, then the bytes.
        let lengths: Vec<Vec<u8>> =
            to_others(outgoing.iter().map(|bytes| (bytes.len() as u64).to_le_bytes().to_vec()).collect());
        let mut theirs = to_others(vec![vec![0; 8]; self.size()]);
        self.transfer(&lengths.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut theirs, BRIEFLY);
        let length = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, u64::from_le_bytes) as usize;
        let mut incoming: Vec<Vec<u8>> = theirs.iter().map(|bytes| vec![0; length(bytes)]).collect();
        let mut others = outgoing.to_vec();
        others[me] = &[];
        self.transfer(&others, &mut incoming, PERSISTENTLY);
        incoming[me] = outgoing[me].to_vec();
        incoming
    }
}

impl Drop for Mpi {
    /// MPI's end waits for all processes; after a panic the others wait for this one.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.world.abort(2);
        }
    }
}
