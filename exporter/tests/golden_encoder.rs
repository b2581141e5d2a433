//! Every method on an encoder: the reference model, un-folded and folded, against the PyTorch script of the same equations,
//! `bench/golden/encoder.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../../trainer/tests/golden_support/encoder.rs"]
mod encoder;
#[path = "../../trainer/tests/golden_support/methods.rs"]
mod methods;

use encoder::{EncoderCase, TAGS, TASK};
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_exporter::bert::{BertModel, BertReference, Form};
use ndarray::{Array2, Ix2};

/// Of logits, as a share of the largest, which counts as 1 at least.
const TOLERANCE: f64 = 5e-5;

fn ids(file: &TensorFile, name: &str) -> Array2<i64> {
    file.integers(name).unwrap().into_dimensionality::<Ix2>().unwrap()
}

#[test]
fn logits_of_both_forms_equal_those_of_the_script() {
    let inputs = EncoderCase::inputs();
    let (input_ids, mask) = (ids(&inputs, "input_ids"), ids(&inputs, "attention_mask"));
    for case in EncoderCase::all() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = EncoderCase::backbone(folder.path());
        let model = BertModel::new(backbone, &case.method, &case.trained, TASK, TAGS).unwrap();
        let wanted = case.open("io").floats("logits").unwrap();
        let largest = wanted.iter().fold(1.0_f64, |m, x| m.max(f64::from(x.abs())));
        for form in [Form::UnFolded, Form::Folded] {
            let logits = BertReference::new(&model, form).unwrap().logits(&input_ids, &mask).unwrap();
            assert_eq!(logits.len(), wanted.len());
            let rows = logits.outer_iter().zip(wanted.rows()).zip(&mask).filter(|(_, mask)| **mask == 1);
            let differences = rows.flat_map(|((got, wanted), _)| {
                got.into_iter().zip(wanted).map(|(a, b)| (a - f64::from(*b)).abs()).collect::<Vec<_>>()
            });
            let worst = differences.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) });
            println!("{} {form:?}: logits differ by {worst:.1e}", case.name);
            assert!(worst <= TOLERANCE * largest, "{} {form:?}: {worst:e}", case.name);
        }
    }
}
