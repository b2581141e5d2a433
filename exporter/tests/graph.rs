//! The task's graph: what it declares, how weights are laid out in it, where it splits, what it costs on disk.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use hyperloader_core::backbone::t5::{Attention, FeedForward, Stack, T5Config, names};
use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, ENCODER_HIDDEN_STATES, INPUT_IDS, LOGITS,
    cross_key, cross_value, generated_adapter,
};
use hyperloader_core::weights::task::{
    Activation, Adapter, Generator, LayerNorm, Linear, Placement, TaskWeights,
};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::graph::{added_tensors, t5_graph, weight_elements};
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::summary::summary;
use hyperloader_onnx::{BuiltModel, Bytes, Opset, Weight, decode_model, extract, write_model};
use ndarray::{ArrayD, IxDyn};

fn zeros(shape: &[usize]) -> HostTensor {
    ArrayD::zeros(IxDyn(shape))
}

/// 0, 1, 2, ...
fn counting(shape: &[usize]) -> HostTensor {
    let mut next = -1.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next += 1.0;
        next
    })
}

fn adapter(d_model: usize, bottleneck: usize) -> Adapter<HostTensor> {
    Adapter {
        down_weight: zeros(&[bottleneck, d_model]),
        down_bias: zeros(&[bottleneck]),
        up_weight: zeros(&[d_model, bottleneck]),
        up_bias: zeros(&[d_model]),
        activation: Activation::GeluNew,
        norm: Some(LayerNorm { gamma: zeros(&[d_model]), beta: zeros(&[d_model]), eps: 1e-5 }),
        placement: Placement::BeforeDropout,
    }
}

fn adapted(config: &T5Config, bottleneck: usize) -> TaskWeights<HostTensor> {
    let mut task = plain(config);
    for block in task.encoder.iter_mut().chain(&mut task.decoder) {
        block.self_attention_adapter = Some(adapter(config.d_model, bottleneck));
        block.feed_forward_adapter = Some(adapter(config.d_model, bottleneck));
    }
    task
}

/// As Hyperdecoder has it: adapters beside the encoder's feed-forward layers, generated ones in the decoder.
fn generated(config: &T5Config) -> TaskWeights<HostTensor> {
    let mut task = plain(config);
    for block in &mut task.encoder {
        let adapter = adapter(config.d_model, 2);
        let (activation, placement) = (Activation::Relu, Placement::Parallel);
        block.feed_forward_adapter = Some(Adapter { activation, norm: None, placement, ..adapter });
    }
    let linear = |[out, input]: [usize; 2]| Linear { weight: zeros(&[out, input]), bias: zeros(&[out]) };
    let (d, b, h) = (config.d_model, 3, 5);
    task.generator = Some(Generator {
        fc1: linear([d, d]),
        fc2: linear([d, d]),
        trunk: zeros(&[h, d]),
        block_biases: vec![zeros(&[h]); config.layers(Stack::Decoder)],
        down_weight: linear([d * b, h]),
        down_bias: linear([b, h]),
        up_weight: linear([b * d, h]),
        up_bias: linear([d, h]),
    });
    task
}

fn plain(config: &T5Config) -> TaskWeights<HostTensor> {
    TaskWeights::none(config.layers(Stack::Encoder), config.layers(Stack::Decoder))
}

/// Two encoder blocks, three decoder blocks, heads wider together than the model.
fn small() -> T5Config {
    T5Config {
        vocab_size: 40,
        d_model: 6,
        d_kv: 4,
        d_ff: 10,
        num_layers: 2,
        num_decoder_layers: Some(3),
        num_heads: 2,
        relative_attention_num_buckets: 8,
        relative_attention_max_distance: 11,
        ..T5Config::preset("t5-nano").unwrap()
    }
}

fn gated() -> T5Config {
    T5Config { feed_forward_proj: FeedForward::GatedGelu, tie_word_embeddings: false, ..small() }
}

fn with_cross_bias() -> T5Config {
    T5Config { cross_attention_relative_bias: true, ..small() }
}

fn built(config: &T5Config, task: &TaskWeights<HostTensor>) -> BuiltModel {
    t5_graph(config, task, None, Opset::default()).unwrap()
}

fn zero_bytes(weight: &Weight) -> Result<Bytes, Infallible> {
    Ok(vec![0; weight.byte_count()].into())
}

fn written(built: &BuiltModel) -> ModelProto {
    let mut bytes = Vec::new();
    write_model(&mut bytes, built, zero_bytes).unwrap();
    decode_model(bytes.into(), "model.onnx".as_ref()).unwrap()
}

fn floats(bytes: &Bytes) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn graphs_keep_their_summaries() {
    insta::assert_snapshot!("relu_tied_adapted", built(&small(), &adapted(&small(), 3)).summary());
    insta::assert_snapshot!("generated", built(&small(), &generated(&small())).summary());
    insta::assert_snapshot!("gated_untied_plain", built(&gated(), &plain(&gated())).summary());
    insta::assert_snapshot!("cross_bias", built(&with_cross_bias(), &plain(&small())).summary());
}

#[test]
fn every_tensor_of_the_backbone_and_the_adapters_is_declared_once() {
    let cases = [small(), gated(), with_cross_bias()].map(|config| (adapted(&config, 3), config));
    for (task, config) in cases.into_iter().chain([(generated(&small()), small())]) {
        let declared: Vec<String> =
            built(&config, &task).weights.into_iter().map(|weight| weight.name).collect();
        let adapters = added_tensors(&task);
        let mut expected: Vec<String> = config.tensors().into_keys().chain(adapters.into_keys()).collect();
        expected.sort();
        let mut sorted = declared.clone();
        sorted.sort();
        assert_eq!(sorted, expected);
    }
}

#[test]
fn every_declared_weight_can_be_filled_from_the_tensor_of_its_name() {
    let cases = [small(), gated(), with_cross_bias()].map(|config| (adapted(&config, 3), config));
    for (task, config) in cases.into_iter().chain([(generated(&small()), small())]) {
        let (shapes, adapters) = (config.tensors(), added_tensors(&task));
        for weight in built(&config, &task).weights {
            let tensor = match adapters.get(&weight.name) {
                Some(tensor) => (*tensor).clone(),
                None => zeros(&shapes[&weight.name]),
            };
            let bytes = weight_elements(&config, &weight, &tensor).unwrap();
            assert_eq!(bytes.len(), weight.byte_count(), "{}", weight.name);
        }
    }
}

#[test]
fn graphs_hold_standard_operators_only_and_no_control_flow() {
    for opset in [Opset::V17, Opset::V18] {
        for task in [adapted(&gated(), 3), generated(&gated())] {
            let model = t5_graph(&gated(), &task, None, opset).unwrap().model;
            for node in model.graph.unwrap().node {
                assert_eq!(node.domain, "", "{}", node.name);
                assert!(!["If", "Loop", "Scan"].contains(&node.op_type.as_str()), "{}", node.name);
            }
        }
    }
}

#[test]
fn a_graph_splits_into_an_encoder_and_a_decoder_that_share_only_the_embedding() {
    let config = small();
    let model = written(&built(&config, &adapted(&config, 3)));
    let names: Vec<String> =
        (0..config.layers(Stack::Decoder)).flat_map(|block| [cross_key(block), cross_value(block)]).collect();
    let memory: Vec<&str> = names.iter().map(String::as_str).collect();

    let outputs = [&memory[..], &[ENCODER_HIDDEN_STATES]].concat();
    let encoder = extract(&model, &[INPUT_IDS, ATTENTION_MASK], &outputs).unwrap();
    let inputs = [&memory[..], &[ATTENTION_MASK, DECODER_INPUT_IDS]].concat();
    let decoder = extract(&model, &inputs, &[LOGITS, DECODER_HIDDEN_STATES]).unwrap();
    insta::assert_snapshot!("encoder", summary(&encoder, &[]));
    insta::assert_snapshot!("decoder", summary(&decoder, &[]));

    let weights = |model: &ModelProto| -> Vec<String> {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().map(|tensor| tensor.name.clone()).filter(|name| name.ends_with(".weight")).collect()
    };
    let decoders = weights(&decoder);
    let shared: Vec<String> = weights(&encoder).into_iter().filter(|name| decoders.contains(name)).collect();
    assert_eq!(shared, [names::SHARED]);
}

#[test]
fn a_generator_runs_with_the_encoder_and_its_adapters_are_all_that_the_decoder_reads_of_it() {
    let config = small();
    let model = written(&built(&config, &generated(&config)));
    let blocks = 0..config.layers(Stack::Decoder);
    let cross = blocks.clone().flat_map(|block| [cross_key(block), cross_value(block)]);
    let names: Vec<String> = cross.chain(blocks.flat_map(generated_adapter)).collect();
    let memory: Vec<&str> = names.iter().map(String::as_str).collect();
    let encoder = extract(&model, &[INPUT_IDS, ATTENTION_MASK], &memory).unwrap();
    let inputs = [&memory[..], &[ATTENTION_MASK, DECODER_INPUT_IDS]].concat();
    let decoder = extract(&model, &inputs, &[LOGITS]).unwrap();
    let generators = |model: &ModelProto| {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().filter(|tensor| tensor.name.starts_with("generator.")).count()
    };
    assert_eq!((generators(&encoder), generators(&decoder)), (1 + 3 + 6 * 2, 0));
}

#[test]
fn a_file_takes_at_most_one_per_cent_more_than_its_weights() {
    let config = T5Config::preset("t5-nano").unwrap();
    let built = built(&config, &adapted(&config, 4));
    let bytes = write_model(&mut io::sink(), &built, zero_bytes).unwrap();
    let weights: usize = built.weights.iter().map(Weight::byte_count).sum();
    assert!(
        (weights as f64..1.01 * weights as f64).contains(&(bytes as f64)),
        "{bytes} bytes, {weights} of weights"
    );
}

#[test]
fn linear_weights_are_stored_transposed_and_the_embedding_is_not() {
    let config = small();
    let weights: BTreeMap<String, Weight> = built(&config, &plain(&config))
        .weights
        .into_iter()
        .map(|weight| (weight.name.clone(), weight))
        .collect();
    let elements =
        |name: &str, tensor: &HostTensor| floats(&weight_elements(&config, &weights[name], tensor).unwrap());

    let q = counting(&[config.inner_dim(), config.d_model]);
    let name = names::attention(Stack::Encoder, 1, Attention::SelfAttention, "q");
    assert_eq!(weights[&name].dims, [config.d_model, config.inner_dim()]);
    assert_eq!(elements(&name, &q), q.t().iter().copied().collect::<Vec<f32>>());

    let shared = counting(&[config.vocab_size, config.d_model]);
    assert_eq!(weights[names::SHARED].dims, shared.shape());
    assert_eq!(elements(names::SHARED, &shared), shared.iter().copied().collect::<Vec<f32>>());
}

#[test]
fn position_tables_hold_every_distances_bucket_and_mask_what_is_ahead() {
    let config = with_cross_bias();
    let max = config.relative_attention_max_distance as i64;
    let weights = built(&config, &plain(&config)).weights;
    let table = counting(&[config.relative_attention_num_buckets, config.num_heads]);
    for (stack, kind, last) in [
        (Stack::Encoder, Attention::SelfAttention, max),
        (Stack::Decoder, Attention::SelfAttention, 1),
        (Stack::Decoder, Attention::CrossAttention, max),
    ] {
        let name = names::relative_bias(stack, kind);
        let weight = weights.iter().find(|weight| weight.name == name).unwrap();
        let columns = (max + last + 1) as usize;
        assert_eq!(weight.dims, [config.num_heads, columns]);
        let stored = floats(&weight_elements(&config, weight, &table).unwrap());
        for distance in -3 * max..=3 * max {
            let column = (distance.clamp(-max, last) + max) as usize;
            for head in 0..config.num_heads {
                let expected = match last == 1 && distance > 0 {
                    true => -1e9,
                    false => table[[config.bucket(distance, last == max), head]],
                };
                assert_eq!(stored[head * columns + column], expected, "{name} at {distance}");
            }
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let config = small();
    let error = |damage: fn(&mut TaskWeights<HostTensor>)| {
        let mut task = adapted(&config, 3);
        damage(&mut task);
        t5_graph(&config, &task, None, Opset::default()).unwrap_err().to_string()
    };
    let mut errors = vec![
        error(|task| task.encoder.truncate(1)),
        error(|task| {
            let adapter = task.decoder[2].feed_forward_adapter.as_mut().unwrap();
            adapter.up_weight = zeros(&[3, 6]);
        }),
        error(|task| {
            let adapter = task.encoder[0].self_attention_adapter.as_mut().unwrap();
            adapter.down_bias = zeros(&[1, 3]);
        }),
        error(|task| {
            let mut generator = generated(&small()).generator.unwrap();
            generator.block_biases.pop();
            task.generator = Some(generator);
        }),
    ];
    let weight = &built(&config, &plain(&config)).weights[0];
    errors.push(weight_elements(&config, weight, &zeros(&[6, 40])).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}
