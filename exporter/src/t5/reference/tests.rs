use hyperloader_core::backbone::t5::T5Config;
use hyperloader_core::method::{HyperConfig, HyperdecoderConfig, LoraConfig, MethodConfig};
use hyperloader_core::run::Which;
use ndarray::{Array2, Axis, array, concatenate, s};

use super::Reference;
use crate::Exporter;
use crate::fold::Form;
use crate::random_run;
use crate::t5::T5Model;

/// A model with LoRA and adapters, and one with generated adapters.
fn models(check: impl Fn(&T5Model)) {
    let t5 = T5Config {
        d_model: 16,
        d_kv: 4,
        num_heads: 3,
        d_ff: 24,
        num_layers: 1,
        num_decoder_layers: Some(2),
        ..T5Config::preset("t5-nano").unwrap()
    };
    let lora = Some(LoraConfig { rank: 2, alpha: 3.0, ..LoraConfig::default() });
    let hyper = HyperConfig { reduction_factor: 4, lora, ..HyperConfig::default() };
    for method in [MethodConfig::from(hyper), HyperdecoderConfig::default().into()] {
        let folder = tempfile::tempdir().unwrap();
        let run = random_run::write(folder.path(), &t5, &method, &["mtop"]);
        let exporter = Exporter::open(run, Which::Last, None).unwrap();
        check(&exporter.t5_model(exporter.run().task("mtop").unwrap()).unwrap());
    }
}

/// Sources of different lengths and their mask.
fn inputs() -> (Array2<i64>, Array2<i64>) {
    (array![[3, 99, 7, 1], [250, 1, 0, 0]], array![[1, 1, 1, 1], [1, 1, 0, 0]])
}

fn largest_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn greedy_decoding_that_keeps_keys_and_values_gives_the_logits_of_whole_prefixes() {
    models(|model| {
        let (ids, mask) = inputs();
        let reference = Reference::new(model, Form::UnFolded);
        let encoded = reference.encode(&ids, &mask).unwrap();
        let greedy = reference.greedy_with_logits(&encoded, &mask, 6).unwrap();
        assert!(greedy.ids.ncols() > 2, "{:?}", greedy.ids);
        let prefixes = greedy.ids.slice(s![.., ..-1]).to_owned();
        let whole = reference.decode(&encoded, &mask, &prefixes).unwrap().into_rows();
        let difference = largest_difference(&greedy.logits, &whole);
        assert!(difference < 1e-12, "{difference}");
    });
}

#[test]
fn both_forms_side_by_side_give_the_logits_of_each_alone() {
    models(|model| {
        let (ids, mask) = inputs();
        let targets = array![[0, 32_099, 5], [0, 9, 9]];
        let logits = |reference: Reference<'_>, copies: usize| {
            let copied = |rows: &Array2<i64>| concatenate(Axis(0), &vec![rows.view(); copies]).unwrap();
            let (ids, mask, targets) = (copied(&ids), copied(&mask), copied(&targets));
            let encoded = reference.encode(&ids, &mask).unwrap();
            reference.decode(&encoded, &mask, &targets).unwrap()
        };
        let halves = logits(Reference::both(model), 2).halves();
        for (form, half) in [Form::UnFolded, Form::Folded].into_iter().zip(halves) {
            let alone = logits(Reference::new(model, form), 1).into_rows();
            let difference = largest_difference(&half.into_rows(), &alone);
            assert!(difference < 1e-12, "{form:?}: {difference}");
        }
    });
}
