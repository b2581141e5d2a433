//! Generated weights and embeddings of every golden HyperLoader and HyperFormer++ case.
#![allow(clippy::unwrap_used)]

mod common;

use common::HyperCase;
use hyperloader_core::backbone::BackboneConfig;
use hyperloader_core::backbone::t5::Stack;
use hyperloader_core::method::MethodConfig;
use hyperloader_core::weights::task::{Adapter, BlockWeights, Lora};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use hyperloader_exporter::materialise::{embeddings, task_weights};

const TOLERANCE: f32 = 1e-5;

/// The weights of a block under the names of `generated_weights.safetensors`.
fn named(block: &BlockWeights<HostTensor>) -> Tensors {
    let mut named = Tensors::new();
    let mut add = |site: &str, what: &str, tensor: &HostTensor| {
        named.insert(format!("{site}/{what}"), tensor.clone());
    };
    let mut adapter = |site: &str, adapter: &Option<Adapter<HostTensor>>| {
        let adapter = adapter.as_ref().unwrap();
        let norm = adapter.norm.as_ref().unwrap();
        for (what, tensor) in [
            ("down_weight", &adapter.down_weight),
            ("down_bias", &adapter.down_bias),
            ("up_weight", &adapter.up_weight),
            ("up_bias", &adapter.up_bias),
            ("norm_gamma", &norm.gamma),
            ("norm_beta", &norm.beta),
        ] {
            add(site, what, tensor);
        }
    };
    adapter("feed_forward", &block.feed_forward_adapter);
    adapter("self_attention", &block.self_attention_adapter);
    let mut lora = |site: &str, lora: &Option<Lora<HostTensor>>| {
        if let Some(lora) = lora {
            add(site, "a", &lora.a);
            add(site, "b", &lora.b);
        }
    };
    lora("lora_self_q", &block.self_attention.q);
    lora("lora_self_v", &block.self_attention.v);
    lora("lora_cross_q", &block.cross_attention.q);
    lora("lora_cross_v", &block.cross_attention.v);
    named
}

fn generated(case: &HyperCase) -> Tensors {
    let mut all = Tensors::new();
    for task in &case.tasks {
        let weights = task_weights(&case.method, &case.t5.shape(), &case.state, task).unwrap();
        for stack in Stack::BOTH {
            let MethodConfig::Hyper(config) = &case.method else { panic!("{:?}", case.method) };
            let embedding = embeddings(config, &case.t5.shape(), &case.state, task, stack).unwrap();
            let embedding = embedding.mapv(|x| x as f32).into_dyn();
            all.insert(format!("{task}/{stack}/embedding"), embedding);
            for (layer, block) in weights.blocks(stack).iter().enumerate() {
                for (name, tensor) in named(block) {
                    all.insert(format!("{task}/{stack}/{layer}/{name}"), tensor);
                }
            }
        }
    }
    all
}

#[test]
fn generated_weights_are_the_reference_implementations() {
    for case in HyperCase::all() {
        let folder = case.folder.display();
        let wanted = case.open("generated_weights").read_all().unwrap();
        let got = generated(&case);
        let names = |tensors: &Tensors| tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&got), names(&wanted), "{folder}");
        let mut largest = 0.0f32;
        for (name, wanted) in &wanted {
            assert_eq!(got[name].shape(), wanted.shape(), "{folder}: {name}");
            for (got, wanted) in got[name].iter().zip(wanted) {
                let difference = (got - wanted).abs();
                assert!(difference <= TOLERANCE, "{folder}: {name}: {got} for {wanted}");
                largest = largest.max(difference);
            }
        }
        println!("{folder}: {} tensors, largest difference {largest:e}", wanted.len());
    }
}

#[test]
fn a_missing_or_misshapen_tensor_of_the_checkpoint_is_named() {
    let mut case = HyperCase::all().remove(0);
    let name = "hyper.decoder.projector.fc2.bias";
    let tensor = case.state.remove(name).unwrap();
    let error = |case: &HyperCase| {
        let weights = task_weights(&case.method, &case.t5.shape(), &case.state, &case.tasks[0]);
        weights.unwrap_err().to_string()
    };
    assert!(error(&case).contains(name), "{}", error(&case));
    case.state.insert(name.to_owned(), tensor.insert_axis(ndarray::Axis(0)));
    assert!(error(&case).contains("has shape [1, "), "{}", error(&case));
}
