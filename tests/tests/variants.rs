//! HyperLoader's ablations: what the trainer generates with gradients is what the exporter materialises from the text.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::convert::Infallible;

use hyperloader_core::method::{AdapterHeads, Init, TrainableTensor, variants};
use hyperloader_core::t5::{Stack, T5Config};
use hyperloader_core::task_weights::{Adapter, BlockWeights, Lora, TaskWeights};
use hyperloader_core::tensors::HostTensor;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_trainer::hypernetwork::generate;
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::ArrayD;
use tch::{Device, Tensor};

/// Generated tensors in a fixed order, with the site that each belongs to.
fn flat<T>(weights: &TaskWeights<T>) -> Vec<(String, &T)> {
    let mut list = Vec::new();
    for stack in Stack::BOTH {
        for (layer, block) in weights.blocks(stack).iter().enumerate() {
            let BlockWeights {
                self_attention,
                cross_attention,
                self_attention_adapter,
                feed_forward_adapter,
            } = block;
            for (site, adapter) in [("self", self_attention_adapter), ("ff", feed_forward_adapter)] {
                if let Some(Adapter { down_weight, up_weight, norm: Some(norm), .. }) = adapter {
                    for (part, tensor) in [
                        ("down", down_weight),
                        ("up", up_weight),
                        ("gamma", &norm.gamma),
                        ("beta", &norm.beta),
                    ] {
                        list.push((format!("{stack}.{layer}.{site}.{part}"), tensor));
                    }
                }
            }
            for (site, lora) in [
                ("self.q", &self_attention.q),
                ("self.v", &self_attention.v),
                ("cross.q", &cross_attention.q),
                ("cross.v", &cross_attention.v),
            ] {
                if let Some(Lora { a, b, .. }) = lora {
                    list.push((format!("{stack}.{layer}.{site}.a"), a));
                    list.push((format!("{stack}.{layer}.{site}.b"), b));
                }
            }
        }
    }
    list
}

/// As at the start of a training, but with tensors that start at zero moved away from it, so that each one counts.
fn moved(list: Vec<TrainableTensor>) -> Vec<TrainableTensor> {
    let move_away = |entry: TrainableTensor| match entry.init {
        Init::Zeros => TrainableTensor { init: Init::Normal { std: 0.02 }, ..entry },
        _ => entry,
    };
    list.into_iter().map(move_away).collect()
}

#[test]
fn each_variant_generates_in_training_what_is_materialised_for_export() {
    let t5 = T5Config::preset("t5-nano").unwrap();
    let tasks = ["mtop".to_owned(), "snips".to_owned()];
    let placeholder = |_: &str| Ok::<_, Infallible>(HostTensor::ones(vec![t5.d_model]));
    for variant in variants() {
        let mut config = variant.config;
        config.reduction_factor = 16;
        config.validate(&t5, &tasks).unwrap();
        let list = moved(config.trainable_tensors(&t5, &tasks));
        let Ok(parameters) = Parameters::initialise(&list, 5, Device::Cpu, placeholder);
        let trained = tch::no_grad(|| generate(&config, &t5, &parameters, "snips")).unwrap();
        let exported = task_weights(&config, &t5, &parameters.to_host(), "snips").unwrap();
        let (trained, exported) = (flat::<Tensor>(&trained), flat::<ArrayD<f32>>(&exported));
        let adapters = if config.adapters == AdapterHeads::All { 2 * 4 } else { 0 };
        let pairs = |stack| config.lora.as_ref().map_or(0, |lora| lora.sites(stack).len());
        let expected: usize =
            Stack::BOTH.into_iter().map(|stack| t5.layers(stack) * (adapters + 2 * pairs(stack))).sum();
        assert_eq!((trained.len(), exported.len()), (expected, expected), "{}", variant.name);
        for ((site, trained), (other, exported)) in trained.iter().zip(&exported) {
            assert_eq!(site, other);
            let trained = to_host(trained);
            assert_eq!(trained.shape(), exported.shape(), "{}: {site}", variant.name);
            let difference =
                trained.iter().zip(exported.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{}: {site} differs by {difference}", variant.name);
        }
    }
}
