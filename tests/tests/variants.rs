//! Every method and variant: what the trainer makes with gradients is what the exporter materialises from the text.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::convert::Infallible;

use hyperloader_core::backbone::BackboneKind;
use hyperloader_core::backbone::t5::{Stack, T5Config};
use hyperloader_core::method::{
    HyperConfig, Init, MethodConfig, TaskShape, TrainableTensor, Variant, variants,
};
use hyperloader_core::weights::task::{Adapter, Generator, Linear, Lora, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_trainer::methods::generate;
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::ArrayD;
use tch::{Device, Tensor};

/// What a task has besides T5: each tensor with its place, and the rest as text.
fn flat<T>(weights: &TaskWeights<T>) -> Vec<(String, &T)> {
    let mut list = Vec::new();
    for stack in Stack::BOTH {
        for (layer, block) in weights.blocks(stack).iter().enumerate() {
            for (site, adapter) in
                [("self", &block.self_attention_adapter), ("ff", &block.feed_forward_adapter)]
            {
                list.extend(adapter.iter().flat_map(|a| of_adapter(&format!("{stack}.{layer}.{site}"), a)));
            }
            for (site, lora) in [
                ("self.q", &block.self_attention.q),
                ("self.v", &block.self_attention.v),
                ("cross.q", &block.cross_attention.q),
                ("cross.v", &block.cross_attention.v),
            ] {
                if let Some(Lora { a, b, scale }) = lora {
                    list.push((format!("{stack}.{layer}.{site}.a x {scale}"), a));
                    list.push((format!("{stack}.{layer}.{site}.b"), b));
                }
            }
        }
    }
    list.extend(weights.generator.iter().flat_map(of_generator));
    list
}

fn of_adapter<'a, T>(site: &str, adapter: &'a Adapter<T>) -> Vec<(String, &'a T)> {
    let Adapter { down_weight, down_bias, up_weight, up_bias, activation, norm, placement } = adapter;
    let mut list = vec![
        (format!("{site}.down {activation:?} {placement:?}"), down_weight),
        (format!("{site}.down_bias"), down_bias),
        (format!("{site}.up"), up_weight),
        (format!("{site}.up_bias"), up_bias),
    ];
    if let Some(norm) = norm {
        list.push((format!("{site}.gamma eps {:e}", norm.eps), &norm.gamma));
        list.push((format!("{site}.beta"), &norm.beta));
    }
    list
}

fn of_generator<T>(generator: &Generator<T>) -> Vec<(String, &T)> {
    let Generator { fc1, fc2, trunk, block_biases, down_weight, down_bias, up_weight, up_bias } = generator;
    let mut list = vec![("trunk".to_owned(), trunk)];
    list.extend(block_biases.iter().enumerate().map(|(block, bias)| (format!("block bias {block}"), bias)));
    for (part, Linear { weight, bias }) in ["fc1", "fc2", "down", "down bias", "up", "up bias"]
        .into_iter()
        .zip([fc1, fc2, down_weight, down_bias, up_weight, up_bias])
    {
        list.push((format!("{part} weight"), weight));
        list.push((format!("{part} bias"), bias));
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
    let tasks = TaskShape::named(&["mtop".to_owned(), "snips".to_owned()]);
    let shapes = t5.tensors();
    let placeholder = |name: &str| Ok::<_, Infallible>(HostTensor::ones(shapes[name].clone()));
    let mut counts = Vec::new();
    let on_t5 = |variant: &Variant| variant.config.method().runs_on(BackboneKind::T5);
    for variant in variants().into_iter().filter(on_t5) {
        let config = match variant.config {
            MethodConfig::Hyper(config) => HyperConfig { reduction_factor: 16, ..config }.into(),
            config => config,
        };
        config.validate(&t5, &tasks).unwrap();
        let list = moved(config.trainable_tensors(&t5, &tasks));
        let Ok(parameters) = Parameters::initialise(&list, 5, Device::Cpu, placeholder);
        let trained = tch::no_grad(|| generate(&config, &t5, &parameters, "snips")).unwrap();
        let exported = task_weights(&config, &t5, &parameters.to_host(), "snips").unwrap();
        let (trained, exported) = (flat::<Tensor>(&trained), flat::<ArrayD<f32>>(&exported));
        assert_eq!(trained.len(), exported.len(), "{}", variant.name);
        for ((site, trained), (other, exported)) in trained.iter().zip(&exported) {
            assert_eq!(site, other);
            let trained = to_host(trained);
            assert_eq!(trained.shape(), exported.shape(), "{}: {site}", variant.name);
            let difference =
                trained.iter().zip(exported.iter()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{}: {site} differs by {difference}", variant.name);
        }
        counts.push(format!("{}: {}", variant.name, trained.len()));
    }
    // Tensors that a task has besides T5's: four blocks a stack, six an adapter with its norm, two a LoRA pair.
    insta::assert_snapshot!(counts.join("\n"));
}
