//! Training examples that are read from a store while they are needed.

use super::example::Example;
use super::order::{Epoch, Order};
use super::store::{Store, StoreError};

/// The examples of a store in a shuffled order, epoch after epoch. In memory are those of one buffer.
#[derive(Debug)]
pub struct Stream {
    store: Store,
    order: Order,
    /// The epoch of the buffer.
    epoch: Option<Epoch>,
    buffer: Option<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    number: usize,
    /// In the order in which they are visited.
    examples: Vec<Example>,
}

impl Stream {
    /// The examples of a store, of which the blocks of one buffer are shuffled together.
    pub(super) fn new(store: Store, buffer: usize, seed: u64) -> Self {
        let order = Order { examples: store.len(), block: store.block_len(), buffer, seed };
        Self { store, order, epoch: None, buffer: None }
    }

    /// The number of examples of an epoch.
    pub fn len(&self) -> usize {
        self.order.examples
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.order.examples == 0
    }

    /// The example at a position, which counts on from epoch to epoch.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn example(&mut self, position: usize) -> Result<&Example, StoreError> {
        let (epoch, position) = self.order.epoch_of(position);
        if self.epoch.as_ref().is_none_or(|current| current.number != epoch) {
            (self.epoch, self.buffer) = (None, None);
        }
        let epoch = self.epoch.get_or_insert_with(|| self.order.epoch(epoch));
        let (number, place) = epoch.place(position);
        let buffer = match self.buffer.take() {
            Some(buffer) if buffer.number == number => buffer,
            // The buffer before is dropped first: only one is in memory.
            _ => Buffer { number, examples: read(&self.store, epoch, number)? },
        };
        Ok(&self.buffer.insert(buffer).examples[place])
    }

    /// The first `count` examples, or all, in another order than that of the training.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn sample(&self, count: usize, seed: u64) -> Result<Vec<Example>, StoreError> {
        let epoch = Order { seed, ..self.order }.epoch(0);
        let mut sample = Vec::new();
        let mut buffer = 0;
        while sample.len() < count.min(self.len()) {
            sample.extend(read(&self.store, &epoch, buffer)?);
            buffer += 1;
        }
        sample.truncate(count);
        Ok(sample)
    }
}

/// The examples of a buffer in the order in which they are visited.
fn read(store: &Store, epoch: &Epoch, buffer: usize) -> Result<Vec<Example>, StoreError> {
    let mut examples = Vec::new();
    for block in epoch.blocks(buffer) {
        examples.extend(store.block(*block)?.into_iter().map(Some));
    }
    let visits = epoch.visits(buffer, examples.len());
    Ok(visits.into_iter().filter_map(|at| examples[at].take()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::store::StoreWriter;
    use super::*;

    fn stream(folder: &std::path::Path, sizes: [usize; 3], seed: u64) -> Stream {
        let [examples, block, buffer] = sizes;
        let path = folder.join("store");
        let mut writer = StoreWriter::create(&path, block).unwrap();
        (0..examples).for_each(|n| writer.add(Example::of_ids(vec![n as u32], vec![1])).unwrap());
        writer.commit(&()).unwrap();
        Stream::new(Store::open::<()>(&path).unwrap().0, buffer, seed)
    }

    fn visited(stream: &mut Stream, positions: std::ops::Range<usize>) -> Vec<u32> {
        positions.map(|position| stream.example(position).unwrap().source[0]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_epoch_visits_each_example_once_and_any_position_is_reached_without_those_before_it(
            examples in 1_usize..60, block in 1_usize..12, buffer in 1_usize..8, seed: u64, start in 0_usize..180
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut whole = stream(folder.path(), [examples, block, buffer], seed);
            let all = visited(&mut whole, 0..3 * examples);
            for epoch in all.chunks(examples) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                prop_assert!(sorted.into_iter().eq(0..examples as u32));
            }
            let start = start % (3 * examples);
            let mut resumed = stream(folder.path(), [examples, block, buffer], seed);
            prop_assert_eq!(visited(&mut resumed, start..3 * examples), &all[start..]);
            let mut sample: Vec<u32> =
                whole.sample(start, seed ^ 1).unwrap().into_iter().map(|example| example.source[0]).collect();
            prop_assert_eq!(sample.len(), start.min(examples));
            sample.sort_unstable();
            sample.dedup();
            prop_assert_eq!(sample.len(), start.min(examples));
        }
    }

    #[test]
    fn seeds_and_epochs_differ_and_a_buffer_mixes_distant_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [4000, 20, 10];
        let [first, second] = [1, 2].map(|seed| visited(&mut stream(folder.path(), sizes, seed), 0..8000));
        assert_ne!(first[..4000], second[..4000]);
        assert_ne!(first[..4000], first[4000..]);
        // Of ten blocks, most begin in different tenths of the store.
        let tenths: std::collections::BTreeSet<u32> = first[..200].iter().map(|n| n / 400).collect();
        assert!(tenths.len() >= 5, "{tenths:?}");
        let neighbors = first[..200].windows(2).filter(|pair| pair[0] / 20 == pair[1] / 20).count();
        assert!(neighbors < 60, "{neighbors} of 199 neighbors are of one block");
    }

    #[test]
    fn a_buffer_that_holds_all_examples_shuffles_them_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let order = visited(&mut stream(folder.path(), [1000, 1000, 1], 5), 0..1000);
        assert!(order.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < 20);
    }
}
