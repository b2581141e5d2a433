//! What a tagger promises beyond its numbers: seeds, strictness, batches, dropout, determinism.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::backbone::{Backbone, BackboneKind};
use hyperloader_core::method::{HyperConfig, Method, MethodConfig, variant};
use hyperloader_core::weights::tensors::HostTensor;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::device::set_deterministic;
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::parameters::Parameters;
use tch::{Device, Kind, Tensor};

/// A small T5 whose heads are wider than its states.
fn backbone() -> T5Backbone {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/t5/gated/model");
    T5Backbone::open(&folder, false).unwrap()
}

/// As published, narrow enough for the backbone.
fn method(method: Method) -> MethodConfig {
    match variant(method.name()).unwrap() {
        MethodConfig::Hyper(config) => HyperConfig { reduction_factor: 4, ..config }.into(),
        config => config,
    }
}

fn tasks() -> Vec<String> {
    ["mtop", "snips"].map(str::to_owned).to_vec()
}

fn tagger(which: Method, seed: u64) -> T5Tagger {
    T5Tagger::new(&backbone(), &method(which), &tasks(), Start::Seed(seed), Device::Cpu).unwrap()
}

/// Like [`tagger`], with LoRA pairs that are not zero.
fn trained_tagger() -> T5Tagger {
    let tagger = tagger(Method::HyperLoader, 1);
    tch::no_grad(|| {
        for parameter in tagger.parameters.iter() {
            let mut tensor = parameter.tensor.shallow_clone();
            tensor += tensor.randn_like() * 0.05;
        }
    });
    tagger
}

fn batch() -> Batch {
    let row = |ids: &[i64], len: usize| [ids, &vec![0; len - ids.len()]].concat();
    let source = [row(&[9, 8, 7, 6, 1], 5), row(&[5, 1], 5), row(&[40, 41, 42, 1], 5)];
    let target = [row(&[11, 3, 1], 4), row(&[12, 1], 4), row(&[13, 4, 5, 1], 4)];
    let input_ids = Tensor::from_slice2(&source);
    Batch {
        attention_mask: input_ids.not_equal(0).to_kind(Kind::Int64),
        input_ids,
        target_ids: Tensor::from_slice2(&target),
    }
}

/// The methods that run on a T5.
fn on_t5() -> impl Iterator<Item = Method> {
    Method::ALL.into_iter().filter(|method| method.runs_on(BackboneKind::T5))
}

#[test]
fn the_same_seed_makes_the_same_tagger() {
    for which in on_t5() {
        let first = tagger(which, 5).parameters.to_host();
        assert_eq!(tagger(which, 5).parameters.to_host(), first);
        // All of T5 starts as the backbone: nothing is drawn.
        let drawn = which != Method::Full;
        assert_eq!(tagger(which, 6).parameters.to_host() != first, drawn, "{which}");
    }
}

#[test]
fn a_batch_moves_what_its_task_uses_and_nothing_else() {
    for which in on_t5() {
        let mut tagger = tagger(which, 1);
        let loss = tagger.loss(&batch(), "mtop", 0.1, false).unwrap();
        tagger.parameters.backward(&loss.surrogate);
        for parameter in tagger.parameters.iter() {
            let name = parameter.name.as_str();
            let unused = name.contains("snips") || name.starts_with("hyper.decoder.learned_adapter.");
            assert_eq!(parameter.has_gradient, !unused, "{which}: {name}");
        }
    }
}

#[test]
fn trained_norms_start_as_the_backbones_and_lora_changes_nothing_at_first() {
    let (tagger, backbone) = (tagger(Method::HyperLoader, 1), backbone());
    let host = tagger.parameters.to_host();
    for name in backbone.config.norms() {
        assert_eq!(host[&name], backbone.tensor(&name).unwrap(), "{name}");
    }
    let weights = tagger.task_weights("mtop").unwrap();
    for block in weights.encoder.iter().chain(&weights.decoder) {
        let lora = block.self_attention.q.as_ref().unwrap();
        assert_eq!(lora.b.abs().max().double_value(&[]), 0.0);
        assert!(lora.a.abs().max().double_value(&[]) > 0.0);
    }
}

#[test]
fn the_offset_is_added_to_the_scale_of_every_adapters_norm() {
    let shifted = HyperConfig { ln_gamma_offset: 1.0, reduction_factor: 4, ..HyperConfig::default() }.into();
    let shifted = T5Tagger::new(&backbone(), &shifted, &tasks(), Start::Seed(1), Device::Cpu).unwrap();
    let plain = tagger(Method::HyperLoader, 1).task_weights("snips").unwrap();
    let shifted = shifted.task_weights("snips").unwrap();
    for (plain, shifted) in plain.decoder.iter().zip(&shifted.decoder) {
        let gamma = |adapter: &Option<hyperloader_core::weights::task::Adapter<Tensor>>| {
            adapter.as_ref().unwrap().norm.as_ref().unwrap().gamma.shallow_clone()
        };
        let difference = gamma(&shifted.feed_forward_adapter) - gamma(&plain.feed_forward_adapter) - 1.0;
        assert!(difference.abs().max().double_value(&[]) < 1e-6);
    }
}

#[test]
fn parameters_of_another_model_are_refused_by_name() {
    let backbone = backbone();
    let config = method(Method::HyperLoader);
    let good = tagger(Method::HyperLoader, 1).parameters.to_host();
    let with = |change: &dyn Fn(&mut hyperloader_core::weights::tensors::Tensors)| {
        let mut tensors = good.clone();
        change(&mut tensors);
        let parameters = Parameters::from_tensors(&tensors, Device::Cpu);
        T5Tagger::new(&backbone, &config, &tasks(), Start::Checkpoint(parameters), Device::Cpu)
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    with(&|_| {}).unwrap();
    let name = "hyper.encoder.projector.fc1.bias";
    let missing = with(&|t| drop(t.remove(name))).unwrap_err();
    assert_eq!(missing, format!("trainable tensor `{name}` is missing"));
    let misshapen = with(&|t| drop(t.insert(name.to_owned(), HostTensor::zeros(vec![3])))).unwrap_err();
    assert_eq!(misshapen, format!("trainable tensor `{name}` has shape [3], expected [128]"));
    let stray = with(&|t| drop(t.insert("hyper.x".to_owned(), HostTensor::zeros(vec![3])))).unwrap_err();
    assert_eq!(stray, "trainable tensor `hyper.x` has shape [3], expected no such tensor");
}

#[test]
fn an_unknown_task_is_answered_with_the_known_ones() {
    let message = tagger(Method::HyperLoader, 1).task_weights("mtopp").unwrap_err().to_string();
    assert_eq!(message, "unknown task `mtopp`, expected one of `mtop`, `snips`\nhint: did you mean `mtop`?");
}

#[test]
fn a_batch_gives_the_sum_of_its_rows_losses_whatever_the_padding() {
    let (tagger, batch) = (trained_tagger(), batch());
    let whole = tagger.loss(&batch, "mtop", 0.1, false).unwrap();
    let lengths = [(5, 3), (2, 2), (4, 4)];
    let mut sum = 0.0;
    for (row, (source, target)) in lengths.into_iter().enumerate() {
        let cut = |t: &Tensor, len| t.narrow(0, row as i64, 1).narrow(1, 0, len);
        let alone = Batch {
            input_ids: cut(&batch.input_ids, source),
            attention_mask: cut(&batch.attention_mask, source),
            target_ids: cut(&batch.target_ids, target),
        };
        sum += tagger.loss(&alone, "mtop", 0.1, false).unwrap().sum;
    }
    assert_eq!(whole.tokens, 9);
    assert!((whole.sum / sum - 1.0).abs() < 1e-5, "{} {sum}", whole.sum);
}

/// Greedy rows of a model that never ends, as they are if `eos` ends them.
fn ended_by(eos: u32, rows: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let end = |row: &Vec<u32>| row.iter().position(|id| *id == eos).map_or(row.len(), |at| at + 1);
    let longest = rows.iter().map(end).max().unwrap();
    let padded = |row: &Vec<u32>| [&row[..end(row)], &vec![0; longest - end(row)]].concat();
    rows.iter().map(padded).collect()
}

#[test]
fn a_row_that_ends_is_padded_and_changes_no_other() {
    let (mut tagger, batch) = (trained_tagger(), batch());
    let greedy =
        |tagger: &T5Tagger| tagger.greedy("snips", &batch.input_ids, &batch.attention_mask, 12).unwrap();
    tagger.t5.config.eos_token_id = -1;
    let free = greedy(&tagger);
    let mut uneven = 0;
    for eos in free.concat() {
        tagger.t5.config.eos_token_id = eos.into();
        let rows = greedy(&tagger);
        assert_eq!(rows, ended_by(eos, &free), "ended by {eos}");
        uneven += usize::from(rows.iter().any(|row| row.last() == Some(&0)));
    }
    assert!(uneven > 0, "all rows end together: {free:?}");
}

#[test]
fn greedy_ids_are_the_argmaxes_of_a_decoder_that_sees_them_all() {
    let (tagger, batch) = (trained_tagger(), batch());
    let (t5, weights) = (&tagger.t5, tagger.task_weights("snips").unwrap());
    let rows = tagger.greedy("snips", &batch.input_ids, &batch.attention_mask, 12).unwrap();
    let rows: Vec<Vec<i64>> = rows.iter().map(|row| row.iter().copied().map(i64::from).collect()).collect();
    let generated = Tensor::from_slice2(&rows);
    let encoded = t5.encode(&weights, &batch.input_ids, &batch.attention_mask, Mode::Evaluation);
    let inputs = t5.shift_right(&generated);
    let states = t5.decode(&weights, &inputs, &encoded, &batch.attention_mask, Mode::Evaluation);
    let best = Vec::<Vec<i64>>::try_from(t5.logits(&states).argmax(-1, false)).unwrap();
    for (row, best) in rows.iter().zip(&best) {
        let end = row.iter().position(|id| *id == t5.config.eos_token_id).map_or(row.len(), |i| i + 1);
        assert_eq!(row[..end], best[..end]);
        assert!(row[end..].iter().all(|id| *id == t5.config.pad_token_id));
    }
    assert!(rows.iter().all(|r| r.len() <= 12));
}

#[test]
fn without_dropout_training_computes_what_evaluation_does() {
    let mut tagger = trained_tagger();
    tagger.t5.config.dropout_rate = 0.0;
    let batch = batch();
    let loss = |training| tagger.loss(&batch, "mtop", 0.1, training).unwrap().sum;
    assert_eq!(loss(true), loss(false));
}

#[cfg(unix)]
#[test]
fn where_nothing_deterministic_is_known_an_operation_is_refused() {
    // `put_` without accumulation is such a one, on the CPU too.
    let put = || {
        let (index, source) = (Tensor::from_slice(&[0_i64]), Tensor::from_slice(&[1_f32]));
        Tensor::from_slice(&[0_f32]).f_put_(&index, &source, false).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(put(), Ok(()));
    set_deterministic(true).unwrap();
    assert!(put().unwrap_err().contains("deterministic"));
    set_deterministic(false).unwrap();
    assert_eq!(put(), Ok(()));
}
