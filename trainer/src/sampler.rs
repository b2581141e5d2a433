//! Draws the task and the sentences of each step (docs/reference/training.md#sampler): one task per batch, with a probability
//! proportional to its size to the power 1/temperature; sentences uniformly, with replacement. A task that is read as a stream
//! gives its sentences one after the other.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Probability of each task: `(size / sum of sizes)^(1 / temperature)`, normalized. That of a task without sentences is 0.
pub fn task_probabilities(sizes: &[usize], temperature: f64) -> Vec<f64> {
    let total = sizes.iter().sum::<usize>() as f64;
    let weights: Vec<f64> = sizes
        .iter()
        .map(|&n| if n == 0 { 0.0 } else { (n as f64 / total).powf(1.0 / temperature) })
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// A seeded stream of batches.
#[derive(Debug, Clone)]
pub struct TaskSampler {
    sizes: Vec<usize>,
    probabilities: Vec<f64>,
    rng: ChaCha8Rng,
    /// The number of sentences that each task has given so far, if it is a stream.
    taken: Vec<Option<usize>>,
}

impl TaskSampler {
    /// A sampler over tasks with `sizes` sentences. The same seed gives the same batches on every machine.
    pub fn new(sizes: &[usize], temperature: f64, seed: u64) -> Self {
        Self {
            sizes: sizes.to_vec(),
            probabilities: task_probabilities(sizes, temperature),
            rng: ChaCha8Rng::seed_from_u64(seed),
            taken: vec![None; sizes.len()],
        }
    }

    /// Takes the sentences of these tasks one after the other, from the first on.
    pub fn with_streams(mut self, is_stream: impl Fn(usize) -> bool) -> Self {
        self.taken = (0..self.sizes.len()).map(|task| is_stream(task).then_some(0)).collect();
        self
    }

    /// The next batch: the index of its task, and the indices of `batch_size` sentences of that task. The indices of a stream
    /// count on after its last sentence.
    pub fn next_batch(&mut self, batch_size: usize) -> (usize, Vec<usize>) {
        let task = self.draw_task();
        if let Some(taken) = &mut self.taken[task] {
            let first = std::mem::replace(taken, *taken + batch_size);
            return (task, (first..*taken).collect());
        }
        let size = self.sizes[task] as u64;
        (task, (0..batch_size).map(|_| self.rng.random_range(0..size) as usize).collect())
    }

    fn draw_task(&mut self) -> usize {
        // 53 random bits: a multiple of 2^-53 in [0, 1).
        let mut point = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        for (task, p) in self.probabilities.iter().enumerate() {
            if point < *p {
                return task;
            }
            point -= p;
        }
        // Rounding may leave a remainder. It belongs to the last task that has sentences.
        self.sizes.iter().rposition(|&n| n > 0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_batches_and_another_seed_others() {
        let batches = |seed| {
            let mut sampler = TaskSampler::new(&[100, 50], 10.0, seed);
            (0..20).map(|_| sampler.next_batch(4)).collect::<Vec<_>>()
        };
        assert_eq!(batches(1), batches(1));
        assert_ne!(batches(1), batches(2));
    }

    #[test]
    fn streams_give_all_sentences_in_turn_and_are_drawn_as_often_as_other_tasks_of_their_size() {
        let sizes = [300, 50];
        let (mut drawn, mut streamed) = (TaskSampler::new(&sizes, 2.0, 3), TaskSampler::new(&sizes, 2.0, 3));
        streamed = streamed.with_streams(|task| task == 0);
        let (mut next, mut counts) = (0, [0, 0]);
        for _ in 0..2000 {
            counts[0] += usize::from(drawn.next_batch(4).0 == 0);
            let (task, indices) = streamed.next_batch(4);
            counts[1] += usize::from(task == 0);
            if task == 0 {
                assert!(indices.into_iter().eq(next..next + 4));
                next += 4;
            }
        }
        assert!(next > 300 && counts[0].abs_diff(counts[1]) < 100, "{counts:?}");
    }

    #[test]
    fn tasks_are_drawn_with_their_probabilities() {
        let sizes = [7034, 0, 30521];
        let mut sampler = TaskSampler::new(&sizes, 2.0, 7);
        let mut counts = [0usize; 3];
        for _ in 0..20_000 {
            let (task, indices) = sampler.next_batch(1);
            assert!(indices[0] < sizes[task]);
            counts[task] += 1;
        }
        for (count, p) in counts.iter().zip(task_probabilities(&sizes, 2.0)) {
            assert!((*count as f64 / 20_000.0 - p).abs() < 0.02, "{counts:?}");
        }
    }
}
