//! The sum of the gradients of all parts of a batch, in the order of the parts.
//!
//! Sums of float32 depend on their order, and that of MPI's own reduction depends on the number of processes. Here each
//! process receives one slice of the gradients of all parts (all to all), adds them in the order of the parts, and sends the
//! sum to all (all gather). The result does not depend on the number of processes.

use std::ops::Range;

use super::communicator::Communicator;

/// The range of `total` things that belong to one of `owners`, which differ by at most one in number: process r of n
/// computes parts `r * parts / n` to `(r + 1) * parts / n`, and part p of n has the sentences `p * batch / n` to
/// `(p + 1) * batch / n`.
pub fn share(owner: usize, owners: usize, total: usize) -> Range<usize> {
    owner * total / owners..(owner + 1) * total / owners
}

/// The sum of the gradients of all parts in the order of the parts. `mine` has the gradients of the parts of this process,
/// all of one length, at least one; those of process r come before those of process r + 1.
pub fn sum_of_parts(processes: &dyn Communicator, mine: Vec<Vec<f32>>) -> Vec<f32> {
    let size = processes.size();
    if size == 1 {
        let mut parts = mine.into_iter();
        let mut sum = parts.next().unwrap_or_default();
        parts.for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value));
        return sum;
    }
    let length = mine.first().map_or(0, Vec::len);
    let slice = |owner| share(owner, size, length);
    let outgoing: Vec<Vec<u8>> =
        (0..size).map(|owner| bytes(mine.iter().map(|part| &part[slice(owner)]))).collect();
    drop(mine);
    let incoming = processes.exchange(&outgoing.iter().map(Vec::as_slice).collect::<Vec<_>>());
    drop(outgoing);
    let width = slice(processes.rank()).len();
    let mut sum: Option<Vec<f32>> = None;
    // An empty slice has no parts to add, and an empty sum.
    for part in incoming.iter().flat_map(|parts| parts.chunks_exact((4 * width).max(1))) {
        match &mut sum {
            None => sum = Some(floats(part).collect()),
            Some(sum) => sum.iter_mut().zip(floats(part)).for_each(|(sum, value)| *sum += value),
        }
    }
    drop(incoming);
    let sum = bytes([sum.unwrap_or_default().as_slice()].into_iter());
    let slices = processes.exchange(&vec![sum.as_slice(); size]);
    let mut whole = Vec::with_capacity(length);
    slices.iter().for_each(|slice| whole.extend(floats(slice)));
    whole
}

fn bytes<'a>(slices: impl Iterator<Item = &'a [f32]>) -> Vec<u8> {
    let mut all = Vec::new();
    for slice in slices {
        all.reserve_exact(4 * slice.len());
        slice.iter().for_each(|value| all.extend_from_slice(&value.to_le_bytes()));
    }
    all
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}
