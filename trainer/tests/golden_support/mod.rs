//! Finding golden cases, reading their files, and comparing with a message that holds both numbers.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod encoder;
pub(crate) mod methods;

use std::path::PathBuf;

use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::parameters::{to_device, to_host};
use tch::{Device, Tensor};

use methods::golden;

/// All sub-folders of the folder `part` that hold `marker`. It is an error if there are none.
pub(crate) fn cases(part: &str, marker: &str) -> Vec<PathBuf> {
    let root = golden(part);
    let mut found: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join(marker).is_file())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no case in {}", root.display());
    found
}

/// An integer tensor of a file.
pub(crate) fn integers(file: &TensorFile, name: &str) -> Tensor {
    let values = file.integers(name).unwrap();
    let shape: Vec<i64> = values.shape().iter().map(|n| *n as i64).collect();
    let rows = values.as_standard_layout();
    Tensor::from_slice(rows.as_slice().unwrap()).view(shape.as_slice())
}

/// A float tensor of a file.
pub(crate) fn floats(file: &TensorFile, name: &str) -> Tensor {
    to_device(&file.floats(name).unwrap(), Device::Cpu)
}

/// The batch whose tensors' names begin with `prefix`.
pub(crate) fn batch(file: &TensorFile, prefix: &str) -> Batch {
    Batch {
        input_ids: integers(file, &format!("{prefix}input_ids")),
        attention_mask: integers(file, &format!("{prefix}attention_mask")),
        target_ids: integers(file, &format!("{prefix}labels")),
    }
}

/// Rows of ids as the files have them: the start token in front, padded to the longest.
pub(crate) fn with_start(rows: &[Vec<u32>], start: i64) -> Vec<Vec<i64>> {
    let with_start =
        |row: &Vec<u32>| std::iter::once(start).chain(row.iter().copied().map(i64::from)).collect();
    rows.iter().map(with_start).collect()
}

pub(crate) fn rows(ids: &Tensor) -> Vec<Vec<i64>> {
    Vec::<Vec<i64>>::try_from(ids).unwrap()
}

/// How far `got` may be from `want`, element by element.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tolerance {
    /// By so much.
    Absolute(f64),
    /// By so much of the largest element of `want`.
    OfMaximum(f64),
    /// By so much of the largest element of `want`, but of this number at least.
    OfMaximumOr(f64, f64),
}

/// Panics with both numbers where two tensors are too far apart; returns their largest difference.
pub(crate) fn assert_close(what: &str, got: &Tensor, want: &Tensor, tolerance: Tolerance) -> f64 {
    assert_eq!(got.size(), want.size(), "{what}: shapes differ");
    let (got, want) = (to_host(got), to_host(want));
    let largest = want.iter().fold(0.0_f64, |m, x| m.max(f64::from(x.abs())));
    let allowed = match tolerance {
        Tolerance::Absolute(by) => by,
        Tolerance::OfMaximum(share) => share * largest,
        Tolerance::OfMaximumOr(share, floor) => share * largest.max(floor),
    };
    let difference = |(a, b): (&f32, &f32)| f64::from((a - b).abs());
    let pairs = || got.iter().zip(&want);
    let worst = pairs().map(difference).fold(0.0, f64::max);
    let wrong = pairs().enumerate().find(|(_, p)| difference(*p).is_nan() || difference(*p) > allowed);
    if let Some((index, (a, b))) = wrong {
        panic!(
            "{what}: element {index} is {a}, expected {b}; largest difference {worst:.3e}, allowed {allowed:.3e}"
        );
    }
    worst
}

/// Panics with both numbers where they differ by more than `relative` of the wanted one.
pub(crate) fn assert_number(what: &str, got: f64, want: f64, relative: f64) {
    let difference = (got - want).abs() / want.abs().max(f64::MIN_POSITIVE);
    assert!(
        difference <= relative,
        "{what} is {got}, expected {want}: relative difference {difference:.3e}, allowed {relative:.0e}"
    );
}

/// Positions of `[batch, len, ..]` that `mask` `[batch, len]` does not hide, as rows.
pub(crate) fn visible(states: &Tensor, mask: &Tensor) -> Tensor {
    let width = *states.size().last().unwrap();
    states.reshape([-1, width]).index_select(0, &mask.reshape(-1).nonzero().squeeze_dim(1))
}
