//! Seeded choice without replacement: the same on every machine and with every version of the random number crates.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::error::CorpusError;
use super::sentence::Sentence;

/// `count` of the indices `0..population`, ascending. With one seed, a smaller choice is part of a larger one.
pub(super) fn choose(population: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut chosen = drawn(population, count, seed);
    chosen.sort_unstable();
    chosen
}

/// The indices `0..population` in an order that the seed gives.
pub fn shuffled(population: usize, seed: u64) -> Vec<usize> {
    drawn(population, population, seed)
}

/// `count` of the indices `0..population`, in the order in which they are drawn.
fn drawn(population: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..population).collect();
    let count = count.min(population);
    for at in 0..count {
        // Multiply and shift; the bias is below 2^-40 for any corpus.
        let rest = (population - at) as u128;
        let offset = (u128::from(generator.next_u64()) * rest) >> 64;
        order.swap(at, at + offset as usize);
    }
    order.truncate(count);
    order
}

/// `floor(fraction * population)` as in decimal arithmetic: 29 % of 100 is 29.
pub(super) fn floor_share(fraction: f64, population: usize) -> usize {
    (fraction * population as f64 + 1e-9).floor() as usize
}

/// `ceil(fraction * population)` as in decimal arithmetic: 10 % of 7,660 is 766.
pub(super) fn ceil_share(fraction: f64, population: usize) -> usize {
    (fraction * population as f64 - 1e-9).ceil() as usize
}

/// `floor(fraction * N)` of `sentences` in their order, chosen by `seed` without replacement (the paper's low-resource settings). With
/// one seed a smaller subset is part of a larger one.
///
/// # Errors
/// If `fraction` is not over 0 and at most 1.
pub fn subset(sentences: Vec<Sentence>, fraction: f64, seed: u64) -> Result<Vec<Sentence>, CorpusError> {
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(CorpusError::Fraction { name: "fraction", value: fraction, bound: "at most" });
    }
    let count = subset_size(sentences.len(), fraction);
    let chosen = choose(sentences.len(), count, seed);
    let mut index = 0;
    let mut sentences = sentences;
    sentences.retain(|_| {
        index += 1;
        chosen.binary_search(&(index - 1)).is_ok()
    });
    Ok(sentences)
}

/// How many of `sentences` a [`subset`] keeps: `floor(fraction * N)`, as the reference implementation's low-resource files.
pub fn subset_size(sentences: usize, fraction: f64) -> usize {
    floor_share(fraction, sentences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_nested_ascending_and_fixed_by_the_seed() {
        let (small, large) = (choose(1000, 50, 7), choose(1000, 400, 7));
        assert!(small.iter().all(|index| large.contains(index)) && large.is_sorted());
        assert_eq!(choose(10, 4, 1), [0, 1, 4, 6]);
        assert_ne!(choose(1000, 50, 8), small);
        assert_eq!(choose(3, 9, 0), [0, 1, 2]);
        assert!(choose(0, 3, 0).is_empty());
        let order = shuffled(10, 1);
        assert!(choose(10, 4, 1).iter().all(|index| order[..4].contains(index)), "{order:?}");
        assert!((0..10).all(|index| order.contains(&index)) && order.len() == 10);
    }

    #[test]
    fn shares_are_those_of_the_papers_tables() {
        let held_out = [7_816, 9_775, 7_660].map(|all| ceil_share(0.1, all));
        assert_eq!(held_out, [782, 978, 766]);
        let train = [7_034, 8_797, 6_894, 4_478, 13_084, 30_521, 15_667];
        assert_eq!(train.map(|all| floor_share(0.1, all)), [703, 879, 689, 447, 1308, 3052, 1566]);
        assert_eq!(train.map(|all| floor_share(0.2, all)), [1406, 1759, 1378, 895, 2616, 6104, 3133]);
        assert_eq!(floor_share(0.29, 100), 29);
    }
}
