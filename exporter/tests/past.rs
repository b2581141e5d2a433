//! A decoder that continues after cached keys and values gives the logits of the whole graph.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/tensors.rs"]
mod tensors;

use hyperloader_core::backbone::t5::{Attention, Stack, T5Config, names};
use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, KEY_POSITIONS, QUERY_POSITIONS, cross_key, cross_value,
    self_key, self_value,
};
use hyperloader_core::weights::task::TaskWeights;
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_exporter::t5::{T5Parts, t5_graph};
use hyperloader_exporter::weights::elements;
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::{Opset, decode_model, write_model};
use hyperloader_runtime::split::{self, Chosen, NOWHERE, WANTED};
use hyperloader_runtime::{Backend, BackendOptions, Graph, Value};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tensors::InMemory;

/// Number of tokens of each pass. Some passes end next to the edges of the position buckets (16 and 128).
const PASSES: [usize; 9] = [1, 14, 1, 1, 1, 109, 1, 1, 11];
const LENGTH: usize = 140;
const VOCABULARY: usize = 40;
const SOURCE_LEN: usize = 7;

fn config(cross_attention_relative_bias: bool) -> T5Config {
    T5Config {
        vocab_size: VOCABULARY,
        d_model: 16,
        d_kv: 8,
        d_ff: 24,
        num_layers: 2,
        num_decoder_layers: Some(3),
        num_heads: 2,
        cross_attention_relative_bias,
        ..T5Config::preset("t5-nano").unwrap()
    }
}

/// A model of random weights, with position tables that matter.
fn random_model(config: &T5Config) -> ModelProto {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let tables = [Attention::SelfAttention, Attention::CrossAttention]
        .map(|kind| names::relative_bias(Stack::Decoder, kind));
    let mut tensor = |(name, shape): (String, Vec<usize>)| {
        let bound = if tables.contains(&name) { 3.0 } else { 0.6 };
        let tensor: HostTensor = ArrayD::from_shape_simple_fn(shape, || rng.random_range(-bound..bound));
        (name, tensor)
    };
    let tensors = InMemory(config.tensors().into_iter().map(&mut tensor).collect());
    let task = TaskWeights::none(config.layers(Stack::Encoder), config.layers(Stack::Decoder));
    let parts = T5Parts { config, task: &task, drafter: None, tensors: &tensors };
    let built = t5_graph(parts, Opset::default()).unwrap();
    let mut bytes = Vec::new();
    write_model(&mut bytes, &built, elements).unwrap();
    decode_model(bytes.into(), "model.onnx".as_ref()).unwrap()
}

/// Ids of two rows.
fn ids(seed: u64, length: usize) -> [Vec<i64>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    [(); 2].map(|()| (0..length).map(|_| rng.random_range(2..VOCABULARY as i64)).collect())
}

fn pair(rows: &[Vec<i64>; 2]) -> Value {
    Value::from_i64s(&[2, rows[0].len()], rows.concat()).unwrap()
}

/// Runs the decoder pass by pass. In every other pass the second row has wrong tokens, which are then run again.
fn passes(
    decoder: &mut dyn Graph,
    memory: &[(String, Value)],
    cache: &[String],
    target: &[Vec<i64>; 2],
) -> [Vec<f32>; 2] {
    let shape = [2, 2, 0, 8];
    let mut past: Vec<Value> = cache.iter().map(|_| Value::from_f32s(&shape, vec![]).unwrap()).collect();
    let (mut columns, mut seen) = ([vec![], vec![]], [0, 0]);
    let mut logits = [vec![], vec![]];
    for (pass, length) in PASSES.into_iter().enumerate() {
        let mut inputs = [(); 2].map(|()| vec![3; length]);
        let counts = [length, if pass % 2 == 1 { 0 } else { length }];
        for row in 0..2 {
            inputs[row][..counts[row]].copy_from_slice(&target[row][seen[row]..seen[row] + counts[row]]);
        }
        let fresh = |row: usize| (seen[row]..seen[row] + length).map(|at| at as i64).collect::<Vec<_>>();
        let queries: Vec<i64> = (0..2).flat_map(fresh).collect();
        let keys: Vec<i64> = (0..2).flat_map(|row| [columns[row].clone(), fresh(row)].concat()).collect();
        let width = keys.len() / 2;
        let values = [
            (DECODER_INPUT_IDS, pair(&inputs)),
            (QUERY_POSITIONS, Value::from_i64s(&[2, length, 1], queries).unwrap()),
            (KEY_POSITIONS, Value::from_i64s(&[2, 1, width], keys).unwrap()),
            (WANTED, Value::from_i64s(&[2 * length], (0..2 * length as i64).collect()).unwrap()),
        ];
        let names: Vec<String> = cache.iter().map(|name| split::past(name)).collect();
        let mut inputs: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
        inputs.extend(memory.iter().map(|(name, value)| (name.as_str(), value)));
        inputs.extend(names.iter().map(String::as_str).zip(&past));
        let mut outputs = decoder.run(&inputs).unwrap().into_iter();
        let chosen = outputs.next().unwrap();
        for row in 0..2 {
            let start = row * length * VOCABULARY;
            logits[row].extend_from_slice(&chosen.f32s().unwrap()[start..start + counts[row] * VOCABULARY]);
            let known = fresh(row).into_iter().take(counts[row]);
            columns[row].extend(known.chain(std::iter::repeat_n(NOWHERE, length - counts[row])));
        }
        seen = [seen[0] + counts[0], seen[1] + counts[1]];
        past = outputs.collect();
    }
    logits
}

#[test]
fn a_decoder_with_a_past_gives_the_logits_of_the_whole_graph() {
    for cross_bias in [false, true] {
        let config = config(cross_bias);
        let model = random_model(&config);
        let blocks = 0..config.layers(Stack::Decoder);
        let memory: Vec<String> =
            blocks.clone().flat_map(|block| [cross_key(block), cross_value(block)]).collect();
        let cache: Vec<String> = blocks.flat_map(|block| [self_key(block), self_value(block)]).collect();
        let all: Vec<u32> = (0..VOCABULARY as u32).collect();
        let encoder = split::encoder(&model, &memory, false).unwrap();
        let decoder = split::decoder(&model, &memory, &cache, Chosen::Logits(&all)).unwrap();
        assert_eq!(split::cache_shape(model.graph.as_ref().unwrap(), &cache[0]).unwrap(), [2, 8]);
        let (source, target) = (pair(&ids(1, SOURCE_LEN)), ids(2, LENGTH));
        let mask = [vec![1; SOURCE_LEN], [vec![1; SOURCE_LEN - 2], vec![0; 2]].concat()];
        let mask = || pair(&mask);
        for (kind, backend) in Backend::available(&BackendOptions::default()) {
            let backend = backend.unwrap();
            let open = |model| backend.open(model, None).unwrap();
            let inputs =
                [(INPUT_IDS, &source), (ATTENTION_MASK, &mask()), (DECODER_INPUT_IDS, &pair(&target))];
            let whole = open(&model).run(&inputs).unwrap();
            let whole = whole[0].f32s().unwrap();
            let encoded = open(&encoder).run(&inputs[..2]).unwrap();
            let mut given: Vec<(String, Value)> = memory.iter().cloned().zip(encoded).collect();
            given.push((ATTENTION_MASK.into(), mask()));
            let rows = passes(&mut *open(&decoder), &given, &cache, &target);
            for (row, logits) in rows.iter().enumerate() {
                let expected = &whole[row * LENGTH * VOCABULARY..][..logits.len()];
                let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                let difference =
                    logits.iter().zip(expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                assert!(
                    largest > 0.1 && difference <= 1e-5 * largest,
                    "{kind}, row {row}: {difference} of {largest}"
                );
            }
            assert_eq!(rows.map(|logits| logits.len() / VOCABULARY), [LENGTH, 15]);
        }
    }
}
