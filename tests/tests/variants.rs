//! Every method and variant: what the trainer makes with gradients is what the exporter materialises from the text.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::convert::Infallible;

use hyperloader_core::backbone::registry::Architecture;
use hyperloader_core::backbone::{BackboneConfig, BackboneKind};
use hyperloader_core::method::{
    HyperConfig, Init, Method, MethodConfig, TaskShape, TrainableTensor, Variant, variants,
};
use hyperloader_core::weights::site::Stack;
use hyperloader_core::weights::task::{Adapter, Generator, Linear, Lora, TaskWeights};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_trainer::methods::generate;
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::ArrayD;
use tch::{Device, Tensor};

/// What a task has besides the backbone: each tensor with its place, and the rest as text.
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

/// Compares all variants that `fits` on a backbone; gives the number of tensors of each.
fn compare(backbone: &dyn BackboneConfig, fits: impl Fn(&Variant) -> bool) -> String {
    let tasks = TaskShape::named(&["mtop".to_owned(), "snips".to_owned()]);
    let shape = backbone.shape();
    let placeholder = |name: &str| Ok::<_, Infallible>(HostTensor::ones(shape.tensors[name].clone()));
    let mut counts = Vec::new();
    for variant in variants().into_iter().filter(fits) {
        let config = match variant.config {
            MethodConfig::Hyper(config) => HyperConfig { reduction_factor: 16, ..config }.into(),
            config => config,
        };
        config.validate(backbone, &tasks).unwrap();
        let list = moved(config.trainable_tensors(backbone, &tasks));
        let Ok(parameters) = Parameters::initialise(&list, 5, Device::Cpu, placeholder);
        let trained = tch::no_grad(|| generate(&config, &shape, &parameters, "snips")).unwrap();
        let exported = task_weights(&config, &shape, &parameters.to_host(), "snips").unwrap();
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
    counts.join("\n")
}

#[test]
fn each_variant_generates_in_training_what_is_materialised_for_export() {
    let t5 = Architecture::preset(&[BackboneKind::T5], Some("t5-nano")).unwrap();
    let counts = compare(t5.config(), |variant| variant.config.method().runs_on(BackboneKind::T5));
    // Tensors that a task has besides T5's: four blocks a stack, six an adapter with its norm, two a LoRA pair.
    insta::assert_snapshot!(counts);
}

#[test]
fn each_variant_on_an_encoder_generates_in_training_what_is_materialised_for_export() {
    let bert = Architecture::preset(&[BackboneKind::Bert], Some("minilm-l6-h384")).unwrap();
    // `unipelt-bert` has modules of its own, which its golden vectors fix.
    let fits = |variant: &Variant| {
        let method = variant.config.method();
        method.runs_on(BackboneKind::Bert) && method != Method::UnipeltBert
    };
    // Six layers, and within a layer as in a T5's encoder.
    insta::assert_snapshot!(compare(bert.config(), fits), @r"
    hyperloader: 96
    hyperformer++: 72
    hyperformer: 72
    hyperloader-4-lora: 96
    hyperloader-4-lora-self: 96
    hyperloader-8-lora: 96
    hyperloader-r16: 96
    hyperloader-no-adapters: 24
    hyperloader-no-adapters-norm-heads: 24
    hyperloader-paper-embedding: 96
    adapters: 48
    lora: 24
    unipelt: 72
    full: 0
    ");
}
