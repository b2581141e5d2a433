//! The graph of a task's T5: its summary, the layout of its weights, where it splits, and the size of its file.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/tensors.rs"]
mod tensors;

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
use hyperloader_exporter::GraphError;
use hyperloader_exporter::t5::{T5Parts, t5_graph};
use hyperloader_exporter::weights::{Layout, Loras, Part, Source, TaskGraph, elements};
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::summary::summary;
use hyperloader_onnx::{Bytes, Opset, Weight, decode_model, extract, write_model};
use ndarray::{ArrayD, IxDyn};
use tensors::InMemory;

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

/// The weights of Hyperdecoder: adapters parallel to the encoder's feed-forward layers, generated ones in the decoder.
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

/// A model whose tensors count from 0.
struct Model {
    config: T5Config,
    task: TaskWeights<HostTensor>,
    tensors: InMemory,
}

impl Model {
    fn new(config: T5Config, task: TaskWeights<HostTensor>) -> Self {
        let tensors = config.tensors().into_iter().map(|(name, shape)| (name, counting(&shape)));
        Self { tensors: InMemory(tensors.collect()), config, task }
    }

    fn try_build(&self, opset: Opset) -> Result<TaskGraph<'_>, GraphError> {
        let Self { config, task, tensors } = self;
        t5_graph(T5Parts { config, task, loras: Loras::Folded, drafter: None, tensors }, opset)
    }

    fn built(&self) -> TaskGraph<'_> {
        self.try_build(Opset::default()).unwrap()
    }

    fn tensor(&self, name: &str) -> &HostTensor {
        &self.tensors.0[name]
    }
}

/// Every form of the feed-forward layer, the head and the method.
fn models() -> Vec<Model> {
    let adapted = [small(), gated(), with_cross_bias()].map(|config| (adapted(&config, 3), config));
    let all = adapted.into_iter().chain([(generated(&small()), small())]);
    all.map(|(task, config)| Model::new(config, task)).collect()
}

fn zero_bytes<S>(weight: &Weight<S>) -> Result<Bytes, Infallible> {
    Ok(vec![0; weight.byte_count()].into())
}

fn written(built: &TaskGraph<'_>) -> ModelProto {
    let mut bytes = Vec::new();
    write_model(&mut bytes, built, zero_bytes).unwrap();
    decode_model(bytes.into(), "model.onnx".as_ref()).unwrap()
}

fn floats(bytes: &Bytes) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

#[test]
fn graphs_keep_their_summaries() {
    let summary = |config: T5Config, task| Model::new(config, task).built().summary();
    insta::assert_snapshot!("relu_tied_adapted", summary(small(), adapted(&small(), 3)));
    insta::assert_snapshot!("generated", summary(small(), generated(&small())));
    insta::assert_snapshot!("gated_untied_plain", summary(gated(), plain(&gated())));
    insta::assert_snapshot!("cross_bias", summary(with_cross_bias(), plain(&small())));
}

#[test]
fn every_tensor_of_the_backbone_is_declared_once_and_every_declaration_can_be_filled() {
    for model in models() {
        let built = model.built();
        let mut declared: Vec<&str> = built.weights.iter().map(|weight| weight.name.as_str()).collect();
        declared.sort_unstable();
        let mut once = declared.clone();
        once.dedup();
        assert_eq!(declared, once);
        let missing = model.tensors.0.keys().filter(|name| !declared.contains(&name.as_str()));
        assert_eq!(missing.count(), 0, "{declared:?}");
        for weight in &built.weights {
            assert_eq!(elements(weight).unwrap().len(), weight.byte_count(), "{}", weight.name);
            // Only matrices of the backbone may be stored in fewer bits.
            let matrix = weight.dims.len() == 2 && weight.source.part != Part::PositionTables;
            let quantizable = matrix && model.tensors.0.contains_key(&weight.name);
            assert_eq!(weight.source.quantizable, quantizable, "{}", weight.name);
        }
    }
}

#[test]
fn graphs_use_standard_operators_only_and_no_control_flow() {
    for opset in [Opset::V17, Opset::V18] {
        for task in [adapted(&gated(), 3), generated(&gated())] {
            let model = Model::new(gated(), task);
            for node in model.try_build(opset).unwrap().model.graph.unwrap().node {
                assert_eq!(node.domain, "", "{}", node.name);
                assert!(!["If", "Loop", "Scan"].contains(&node.op_type.as_str()), "{}", node.name);
            }
        }
    }
}

#[test]
fn a_graph_splits_into_an_encoder_and_a_decoder_that_share_only_the_embedding() {
    let config = small();
    let model = written(&Model::new(config.clone(), adapted(&config, 3)).built());
    let names: Vec<String> =
        (0..config.layers(Stack::Decoder)).flat_map(|block| [cross_key(block), cross_value(block)]).collect();
    let memory: Vec<&str> = names.iter().map(String::as_str).collect();

    let outputs = [&memory[..], &[ENCODER_HIDDEN_STATES]].concat();
    let encoder = extract(&model, &[INPUT_IDS, ATTENTION_MASK], &outputs).unwrap();
    let inputs = [&memory[..], &[ATTENTION_MASK, DECODER_INPUT_IDS]].concat();
    let decoder = extract(&model, &inputs, &[LOGITS, DECODER_HIDDEN_STATES]).unwrap();
    insta::assert_snapshot!("encoder", summary(&encoder));
    insta::assert_snapshot!("decoder", summary(&decoder));

    let weights = |model: &ModelProto| -> Vec<String> {
        let tensors = &model.graph.as_ref().unwrap().initializer;
        tensors.iter().map(|tensor| tensor.name.clone()).filter(|name| name.ends_with(".weight")).collect()
    };
    let decoders = weights(&decoder);
    let shared: Vec<String> = weights(&encoder).into_iter().filter(|name| decoders.contains(name)).collect();
    assert_eq!(shared, [names::SHARED]);
}

#[test]
fn a_generator_is_part_of_the_encoder_and_the_decoder_reads_only_its_adapters() {
    let config = small();
    let model = written(&Model::new(config.clone(), generated(&config)).built());
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
    let model = Model::new(config.clone(), adapted(&config, 4));
    let built = model.built();
    let bytes = write_model(&mut io::sink(), &built, zero_bytes).unwrap();
    let weights: usize = built.weights.iter().map(Weight::byte_count).sum();
    assert!(
        (weights as f64..1.01 * weights as f64).contains(&(bytes as f64)),
        "{bytes} bytes, {weights} of weights"
    );
}

/// The weight `name` of a graph.
fn weight<'b, 'a>(built: &'b TaskGraph<'a>, name: &str) -> &'b Weight<Source<'a>> {
    built.weights.iter().find(|weight| weight.name == name).unwrap()
}

#[test]
fn linear_weights_are_transposed_in_the_file_and_the_embedding_is_not() {
    let model = Model::new(small(), plain(&small()));
    let built = model.built();
    let config = &model.config;

    let name = names::attention(Stack::Encoder, 1, Attention::SelfAttention, "q");
    let q = weight(&built, &name);
    assert_eq!((q.source.layout, q.source.part), (Layout::Transposed, Part::Attention));
    assert_eq!(q.dims, [config.d_model, config.inner_dim()]);
    let transposed: Vec<f32> = model.tensor(&name).t().iter().copied().collect();
    assert_eq!(floats(&elements(q).unwrap()), transposed);

    let shared = weight(&built, names::SHARED);
    assert_eq!((shared.source.layout, shared.source.part), (Layout::Same, Part::Embedding));
    let same: Vec<f32> = model.tensor(names::SHARED).iter().copied().collect();
    assert_eq!(floats(&elements(shared).unwrap()), same);
}

#[test]
fn position_tables_contain_the_bucket_of_every_distance_and_mask_later_positions() {
    let model = Model::new(with_cross_bias(), plain(&with_cross_bias()));
    let (built, config) = (model.built(), &model.config);
    let max = config.relative_attention_max_distance as i64;
    let table = counting(&[config.relative_attention_num_buckets, config.num_heads]);
    for (stack, kind, last) in [
        (Stack::Encoder, Attention::SelfAttention, max),
        (Stack::Decoder, Attention::SelfAttention, 1),
        (Stack::Decoder, Attention::CrossAttention, max),
    ] {
        let name = names::relative_bias(stack, kind);
        let weight = weight(&built, &name);
        let columns = (max + last + 1) as usize;
        assert_eq!(weight.dims, [config.num_heads, columns]);
        let by_distance = floats(&elements(weight).unwrap());
        for distance in -3 * max..=3 * max {
            let column = (distance.clamp(-max, last) + max) as usize;
            for head in 0..config.num_heads {
                let expected = match last == 1 && distance > 0 {
                    true => -1e9,
                    false => table[[config.bucket(distance, last == max), head]],
                };
                assert_eq!(by_distance[head * columns + column], expected, "{name} at {distance}");
            }
        }
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let error = |damage: fn(&mut TaskWeights<HostTensor>)| {
        let mut task = adapted(&small(), 3);
        damage(&mut task);
        Model::new(small(), task).try_build(Opset::default()).unwrap_err().to_string()
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
    let mut model = Model::new(small(), plain(&small()));
    model.tensors.0.insert(names::SHARED.to_owned(), zeros(&[6, 40]));
    errors.push(elements(weight(&model.built(), names::SHARED)).unwrap_err().to_string());
    model.tensors.0.insert(names::SHARED.to_owned(), zeros(&[40, 6]) / 0.0);
    errors.push(elements(weight(&model.built(), names::SHARED)).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"));
}
