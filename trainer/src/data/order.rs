//! The order in which a stream visits the examples of a store, from the seed alone.
//!
//! In each epoch the blocks are shuffled, and so are the examples of some consecutive blocks, the buffer. An example is
//! visited once per epoch. The place of the example at a position follows from the position, so that a stream begins
//! anywhere without the steps before.

use hyperloader_core::corpus::shuffled;

use crate::seeds::mixed;

/// The number of examples of a block.
pub(super) const BLOCK: usize = 256;
/// The number of blocks of a buffer.
pub(super) const BUFFER: usize = 64;

/// The sizes and the seed that an order follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// The number of examples; at least 1.
    pub(super) examples: usize,
    /// The number of examples of each block but the last.
    pub(super) block: usize,
    /// The number of blocks of a buffer.
    pub(super) buffer: usize,
    pub(super) seed: u64,
}

/// The blocks in the order of an epoch.
#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) number: u64,
    blocks: Vec<usize>,
    /// The position of the first example of each buffer, counted from the beginning of the epoch.
    starts: Vec<usize>,
    order: Order,
}

impl Order {
    /// The epoch of a position, and the position in it.
    pub(super) fn epoch_of(&self, position: usize) -> (u64, usize) {
        ((position / self.examples) as u64, position % self.examples)
    }

    pub(super) fn epoch(self, number: u64) -> Epoch {
        let blocks = shuffled(self.examples.div_ceil(self.block), mixed(self.seed, number, 0));
        let mut next = 0;
        let len = |block: &usize| self.block.min(self.examples - block * self.block);
        let buffers = blocks.chunks(self.buffer);
        let start = |buffer: &[usize]| {
            let start = next;
            next += buffer.iter().map(len).sum::<usize>();
            start
        };
        let starts = buffers.map(start).collect();
        Epoch { number, blocks, starts, order: self }
    }
}

impl Epoch {
    /// The number of the buffer that has the example at a position of the epoch, and the place in it.
    pub(super) fn place(&self, position: usize) -> (usize, usize) {
        let buffer = self.starts.partition_point(|start| *start <= position) - 1;
        (buffer, position - self.starts[buffer])
    }

    /// The blocks of a buffer.
    pub(super) fn blocks(&self, buffer: usize) -> &[usize] {
        let first = buffer * self.order.buffer;
        &self.blocks[first..self.blocks.len().min(first + self.order.buffer)]
    }

    /// The order in which the `len` examples of the blocks of a buffer are visited.
    pub(super) fn visits(&self, buffer: usize, len: usize) -> Vec<usize> {
        shuffled(len, mixed(self.order.seed, self.number, 1 + buffer as u64))
    }
}
