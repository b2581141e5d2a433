//! HyperLoader and HyperFormer++ against the reference implementations, on every case of `golden/hyperloader`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod case;
#[path = "../golden_support/mod.rs"]
mod golden_support;

use std::collections::BTreeMap;

use golden_support::methods::{golden, json};
use golden_support::{
    Tolerance, assert_close, assert_number, batch, floats, integers, rows, visible, with_start,
};
use hyperloader_core::backbone::t5::{Stack, relative_position_bucket};
use hyperloader_core::method::{LoraConfig, Site, TaskShape};
use hyperloader_core::weights::task::{Adapter, Lora};
use hyperloader_trainer::loss::smoothing_floor;
use hyperloader_trainer::methods::hyper;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::optimizer::{AbsentGradient, AdamW};
use hyperloader_trainer::schedule::{Decay, Schedule};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use case::Case;

const MODE: Mode = Mode::Evaluation;
const GENERATED: Tolerance = Tolerance::Absolute(1e-5);
const STATES: Tolerance = Tolerance::Absolute(2e-5);
const HIDDEN: Tolerance = Tolerance::OfMaximumOr(1e-5, 1.0);
const GRADIENTS: Tolerance = Tolerance::OfMaximum(1e-4);

#[test]
fn names_shapes_and_counts_of_tensors_equal_the_references() {
    for case in Case::all() {
        let T5Tagger { t5, method, parameters, tasks, .. } = &case.tagger;
        let trainable = method.trainable_tensors(&t5.config, &TaskShape::named(tasks));
        let mut ours: BTreeMap<String, (Vec<usize>, bool)> =
            t5.config.tensors().into_iter().map(|(name, shape)| (name, (shape, false))).collect();
        ours.extend(trainable.into_iter().map(|t| (t.name, (t.shape, true))));
        let mut theirs = BTreeMap::new();
        for tensor in case.config["tensors"].as_array().unwrap() {
            let shape: Vec<usize> = serde_json::from_value(tensor["shape"].clone()).unwrap();
            let name = tensor["ours"].as_str().unwrap().to_owned();
            theirs.insert(name, (shape, tensor["trainable"].as_bool().unwrap()));
        }
        assert_eq!(ours, theirs, "{}", case.name);
        let frozen = ours.values().filter(|(_, trainable)| !trainable);
        let frozen: usize = frozen.map(|(shape, _)| shape.iter().product::<usize>()).sum();
        assert_eq!(json!(parameters.count()), case.config["n_trainable"], "{}", case.name);
        assert_eq!(json!(parameters.count() + frozen), case.config["n_total"], "{}", case.name);
    }
}

#[test]
fn generated_weights_equal_the_references() {
    Case::for_each_task(|case, task, what| {
        let T5Tagger { parameters, .. } = &case.tagger;
        let method = &case.hyper;
        let file = case.file("generated_weights");
        let mut left: Vec<&String> =
            file.shapes().keys().filter(|n| n.starts_with(&format!("{task}/"))).collect();
        let mut compare = |name: String, got: &Tensor| {
            assert_close(&format!("{what}: {name}"), got, &floats(&file, &name), GENERATED);
            left.retain(|n| **n != name);
        };
        let weights = case.tagger.task_weights(task).unwrap();
        for stack in Stack::BOTH {
            let got = hyper::embeddings(method, &case.tagger.shape, parameters, task, stack).unwrap();
            compare(format!("{task}/{stack}/embedding"), &got);
            for (layer, block) in weights.blocks(stack).iter().enumerate() {
                let sites = [
                    ("feed_forward", block.feed_forward_adapter.as_ref()),
                    ("self_attention", block.self_attention_adapter.as_ref()),
                ];
                for (site, adapter) in sites {
                    let Adapter { down_weight, down_bias, up_weight, up_bias, norm, .. } = adapter.unwrap();
                    let norm = norm.as_ref().unwrap();
                    assert_eq!(norm.eps, method.adapter_norm_eps);
                    for (part, got) in [
                        ("down_weight", down_weight),
                        ("down_bias", down_bias),
                        ("up_weight", up_weight),
                        ("up_bias", up_bias),
                        ("norm_gamma", &norm.gamma),
                        ("norm_beta", &norm.beta),
                    ] {
                        compare(format!("{task}/{stack}/{layer}/{site}/{part}"), got);
                    }
                }
                let pairs = [
                    (Site::LoraSelfQ, "lora_self_q", &block.self_attention.q),
                    (Site::LoraSelfV, "lora_self_v", &block.self_attention.v),
                    (Site::LoraCrossQ, "lora_cross_q", &block.cross_attention.q),
                    (Site::LoraCrossV, "lora_cross_v", &block.cross_attention.v),
                ];
                for (site, name, pair) in pairs {
                    let there = method
                        .lora
                        .as_ref()
                        .is_some_and(|lora| lora.sites(&case.tagger.shape, stack).contains(&site));
                    assert_eq!(pair.is_some(), there, "{what}: {stack} {layer} {name}");
                    if let Some(Lora { a, b, scale }) = pair {
                        assert_eq!(Some(*scale), method.lora.as_ref().map(LoraConfig::scale));
                        compare(format!("{task}/{stack}/{layer}/{name}/a"), a);
                        compare(format!("{task}/{stack}/{layer}/{name}/b"), b);
                    }
                }
            }
        }
        assert!(left.is_empty(), "{what}: not generated: {left:?}");
    });
}

#[test]
fn encoder_output_logits_and_hidden_states_equal_the_references() {
    Case::for_each_task(|case, task, what| {
        let (inputs, outputs, batch) = (case.file("inputs"), case.file("outputs"), case.inputs());
        let t5 = &case.tagger.t5;
        let weights = case.tagger.task_weights(task).unwrap();
        let decoder_input_ids = t5.shift_right(&batch.target_ids);
        assert_eq!(rows(&decoder_input_ids), rows(&integers(&inputs, "decoder_input_ids")), "{what}");

        let (mut encoder, mut decoder) = (Vec::new(), Vec::new());
        let (ids, mask) = (&batch.input_ids, &batch.attention_mask);
        let encoded = t5.encode_observed(&weights, ids, mask, MODE, &mut |x| encoder.push(x.shallow_clone()));
        let decoded = t5.decode_observed(&weights, &decoder_input_ids, (&encoded, mask), MODE, &mut |x| {
            decoder.push(x.shallow_clone());
        });
        let wanted = visible(&floats(&outputs, &format!("{task}/encoder_output")), mask);
        let encoder_gap =
            assert_close(&format!("{what}: encoder output"), &visible(&encoded, mask), &wanted, STATES);
        let wanted = floats(&outputs, &format!("{task}/logits"));
        let logits_gap = assert_close(&format!("{what}: logits"), &t5.logits(&decoded), &wanted, STATES);
        println!("{what}: encoder output {encoder_gap:.1e}, logits {logits_gap:.1e}");

        if !outputs.shapes().contains_key(&format!("{task}/decoder_output")) {
            assert_ne!(task, case.tagger.tasks[0], "{what}: hidden states of the first task are missing");
            return;
        }
        let wanted = floats(&outputs, &format!("{task}/decoder_output"));
        assert_close(&format!("{what}: decoder output"), &decoded, &wanted, HIDDEN);
        for (i, got) in encoder.iter().enumerate() {
            let wanted = visible(&floats(&outputs, &format!("{task}/encoder_hidden.{i}")), mask);
            assert_close(&format!("{what}: encoder block {i}"), &visible(got, mask), &wanted, HIDDEN);
        }
        for (i, got) in decoder.iter().enumerate() {
            let wanted = floats(&outputs, &format!("{task}/decoder_hidden.{i}"));
            assert_close(&format!("{what}: decoder block {i}"), got, &wanted, HIDDEN);
        }
    });
}

#[test]
fn losses_and_gradients_equal_the_references() {
    Case::for_each_task(|case, task, what| {
        let info = &case.config["tasks_info"][task];
        let (batch, smoothing) = (case.inputs(), case.smoothing());
        let loss = case.tagger.loss(&batch, task, smoothing, false).unwrap();
        let plain = case.tagger.loss(&batch, task, 0.0, false).unwrap();
        let number = |field: &str| info[field].as_f64().unwrap();
        assert_number(&format!("{what}: loss"), loss.sum, number("loss"), 2e-6);
        assert_number(&format!("{what}: plain loss"), plain.sum, number("nll_sum"), 2e-6);
        assert_eq!(json!(loss.tokens), info["n_target_tokens"], "{what}");

        let parameters = &mut case.tagger.parameters;
        parameters.clear_gradients();
        parameters.backward(&loss.surrogate);
        let absent: Vec<String> = serde_json::from_value(info["no_gradient"].clone()).unwrap();
        let without = parameters.iter().filter(|p| !p.has_gradient).map(|p| p.name.clone());
        assert_eq!(sorted(without), sorted(absent), "{what}: tensors without a gradient");

        let mut squares = 0.0;
        for name in parameters.iter().filter(|p| p.has_gradient).map(|p| p.name.clone()).collect::<Vec<_>>() {
            let gradient = parameters.gradient(&name).unwrap().to_kind(Kind::Double);
            let norm = gradient.norm().double_value(&[]);
            let wanted = case.config["grad_stats"][task][&name]["l2"].as_f64().unwrap();
            if wanted > 0.0 {
                assert_number(&format!("{what}: norm of the gradient of {name}"), norm, wanted, 5e-5);
            } else {
                assert_eq!(norm, 0.0, "{what}: norm of the gradient of {name}");
            }
            squares += norm * norm;
        }
        assert_number(&format!("{what}: gradient norm"), squares.sqrt(), number("grad_norm"), 5e-5);
    });
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort();
    names
}

/// `tensor` as the sampled files hold it: every `stride`-th element.
fn sampled(case: &Case, name: &str, tensor: &Tensor) -> Tensor {
    let stride = case.config["sampling"][name]["stride"].as_i64().unwrap();
    tensor.reshape(-1).slice(0, 0, None, stride)
}

#[test]
fn every_element_of_every_gradient_equals_the_references() {
    Case::for_each_task(|case, task, what| {
        let loss = case.tagger.loss(&case.inputs(), task, case.smoothing(), false).unwrap();
        case.tagger.parameters.clear_gradients();
        case.tagger.parameters.backward(&loss.surrogate);
        let mut compared = 0;
        for (file, whole) in [("grads", true), ("grads_sampled", false)] {
            if !case.has(file) {
                continue;
            }
            let file = case.file(file);
            for parameter in case.tagger.parameters.iter().filter(|p| p.has_gradient) {
                let name = &parameter.name;
                let key = format!("{task}/{name}");
                if whole && !file.shapes().contains_key(&key) {
                    continue; // Full gradients need not be there for all tasks.
                }
                let got = case.tagger.parameters.gradient(name).unwrap();
                let got = if whole { got } else { sampled(case, name, &got) };
                let wanted = floats(&file, &key).view(got.size().as_slice());
                assert_close(&format!("{what}: gradient of {name}"), &got, &wanted, GRADIENTS);
                compared += 1;
            }
        }
        assert!(compared > 0, "{what}: no gradients to compare with");
    });
}

#[test]
fn greedy_ids_equal_the_references() {
    Case::for_each_task(|case, task, what| {
        let wanted = rows(&integers(&case.file("outputs"), &format!("{task}/generated_ids")));
        let batch = case.inputs();
        let max = case.config["generation_max_length"].as_u64().unwrap() as usize - 1;
        let got = case.tagger.greedy(task, &batch.input_ids, &batch.attention_mask, max).unwrap();
        let got = with_start(&got, case.tagger.t5.config.decoder_start_token_id);
        assert_eq!(got, wanted, "{what}");
    });
}

/// Which numbers of a trajectory are compared, and how closely.
#[derive(Clone, Copy)]
struct Closeness {
    loss: f64,
    gradient_norm: f64,
}

const EXACT: Closeness = Closeness { loss: 2e-5, gradient_norm: 3e-4 };
/// AdamW's first steps turn float32's noise in the smallest gradients into whole moves, and a ReLU whose input this
/// brings across zero makes two correct trainings part by a per cent.
const ROUGH: Closeness = Closeness { loss: 1e-2, gradient_norm: 1e-1 };
/// Steps of a float32 training before that can happen.
const FLOAT32_STEPS: usize = 5;

/// Runs the trajectory of a case and compares every step with `expected`, a list as in `trajectory.json`.
fn follow(case: &mut Case, trajectory: &Value, expected: &Value, absent: AbsentGradient) {
    let kind = case.tagger.parameters.iter().next().unwrap().tensor.kind();
    let what = format!("{} in {kind:?} with {absent:?}", case.name);
    let setting = |field: &str| trajectory[field].as_f64().unwrap();
    let schedule = Schedule {
        base: setting("base_lr"),
        warmup: trajectory["warmup_steps"].as_u64().unwrap(),
        total: trajectory["total_steps"].as_u64().unwrap(),
        decay: Decay::Linear,
    };
    let mut optimizer = AdamW::new(&case.tagger.parameters, setting("weight_decay"), absent);
    let batches = case.file("trajectory_batches");
    let steps = expected["steps"].as_array().unwrap();
    assert!(!steps.is_empty());
    for (done, step) in steps.iter().enumerate() {
        let what = format!("{what}: step {}", done + 1);
        let number = |field: &str| step[field].as_f64().unwrap();
        let rate = schedule.lr(done as u64);
        assert!((rate - number("lr")).abs() <= 1e-15 * schedule.base, "{what}: {rate}, {}", number("lr"));
        let batch = batch(&batches, &format!("step{done}/"));
        let task = step["task"].as_str().unwrap();
        let loss = case.tagger.loss(&batch, task, setting("label_smoothing"), true).unwrap();
        let close = if kind == Kind::Double || done < FLOAT32_STEPS { EXACT } else { ROUGH };
        let loss_gap = if done < 2 { 2e-6 } else { close.loss };
        assert_number(&format!("{what}: loss"), loss.sum, number("loss"), loss_gap);
        case.tagger.parameters.backward(&loss.surrogate);
        let norm = optimizer.step(&mut case.tagger.parameters, rate, setting("max_grad_norm"));
        assert_number(&format!("{what}: gradient norm"), norm, number("grad_norm"), close.gradient_norm);
    }
    let counts = case.tagger.parameters.iter().zip(optimizer.updates());
    let counts: BTreeMap<String, u64> = counts.map(|(p, n)| (p.name.clone(), *n)).collect();
    let wanted: BTreeMap<String, u64> =
        serde_json::from_value(expected["optimizer_step_count"].clone()).unwrap();
    assert_eq!(counts, wanted, "{what}");
    let close = if kind == Kind::Double { EXACT } else { ROUGH };
    let inputs = case.inputs();
    for (task, wanted) in expected["loss_on_inputs_after"].as_object().unwrap() {
        let loss = case.tagger.loss(&inputs, task, setting("label_smoothing"), false).unwrap();
        assert_number(
            &format!("{what}: loss of {task} after"),
            loss.sum,
            wanted.as_f64().unwrap(),
            close.loss,
        );
    }
}

/// Compares tensors after training: 99.9 % of the elements within 2e-5, all within 1e-4.
fn compare_after(case: &Case, file: &str, whole: bool) -> usize {
    if !case.has(file) {
        return 0;
    }
    let file = case.file(file);
    let (mut elements, mut beyond) = (0, 0);
    for name in file.shapes().keys() {
        let got = case.tagger.parameters.get(name).unwrap().detach();
        let got = if whole { got } else { sampled(case, name, &got) };
        let wanted = floats(&file, name).view(got.size().as_slice());
        let what = format!("{}: {name} after training", case.name);
        assert_close(&what, &got, &wanted, Tolerance::Absolute(1e-4));
        elements += got.numel();
        beyond += (got - wanted).abs().gt(2e-5).sum(Kind::Int64).int64_value(&[]);
    }
    assert!(beyond as f64 <= 1e-3 * elements as f64, "{}: {beyond} of {elements} beyond 2e-5", case.name);
    elements
}

#[test]
fn training_follows_the_references_steps() {
    for mut case in Case::all_in(Kind::Double) {
        let trajectory = json(&case.folder.join("trajectory.json"));
        let before = case.tagger.parameters.to_host();
        follow(&mut case, &trajectory, &trajectory, AbsentGradient::Decay);
        let compared =
            compare_after(&case, "params_after", true) + compare_after(&case, "params_after_sampled", false);
        assert!(compared > 0, "{}: nothing to compare with", case.name);
        let after = case.tagger.parameters.to_host();
        let unchanged =
            before.iter().filter(|(name, tensor)| after[*name] == **tensor).map(|(n, _)| n.clone());
        let wanted: Vec<String> = serde_json::from_value(trajectory["unchanged_tensors"].clone()).unwrap();
        assert_eq!(sorted(unchanged), sorted(wanted), "{}", case.name);
    }
}

#[test]
fn training_that_skips_absent_gradients_follows_the_references_variant() {
    let mut compared = 0;
    for mut case in Case::all_in(Kind::Double) {
        let trajectory = json(&case.folder.join("trajectory.json"));
        follow(&mut case, &trajectory, &trajectory["variant"], AbsentGradient::Skip);
        compared += compare_after(&case, "params_after_variant", true);
    }
    assert!(compared > 0);
}

#[test]
fn training_in_float32_follows_the_references_steps_as_far_as_rounding_lets_it() {
    for absent in [AbsentGradient::Decay, AbsentGradient::Skip] {
        for mut case in Case::all() {
            let trajectory = json(&case.folder.join("trajectory.json"));
            let expected = match absent {
                AbsentGradient::Decay => &trajectory,
                AbsentGradient::Skip => &trajectory["variant"],
            };
            follow(&mut case, &trajectory, expected, absent);
        }
    }
}

/// A file at the top of `golden/hyperloader`; another folder of cases need not have it.
fn top_level(name: &str) -> Option<Value> {
    let path = golden("hyperloader").join(name);
    let elsewhere = std::env::var_os("HYPERLOADER_GOLDEN").is_some();
    (path.is_file() || !elsewhere).then(|| json(&path))
}

#[test]
fn the_smoothing_floor_and_the_learning_rates_are_the_anchors() {
    let Some(anchors) = top_level("anchors.json") else { return };
    let floor = &anchors["label_smoothing_floor_per_token"];
    let (epsilon, vocab) = (floor["epsilon"].as_f64().unwrap(), floor["vocab"].as_u64().unwrap());
    let want = floor["value"].as_f64().unwrap();
    assert_number("floor", smoothing_floor(epsilon, vocab as usize), want, 1e-12);
    let rates = &anchors["lr_schedule"];
    let schedule = Schedule {
        base: rates["base_lr"].as_f64().unwrap(),
        warmup: rates["warmup"].as_u64().unwrap(),
        total: rates["total"].as_u64().unwrap(),
        decay: Decay::Linear,
    };
    let anchors = rates["lr_at_t"].as_object().unwrap();
    assert!(!anchors.is_empty());
    for (done, want) in anchors {
        let got = schedule.lr(done.parse().unwrap());
        let want = want.as_f64().unwrap();
        assert!((got - want).abs() <= 1e-15 * schedule.base, "lr({done}) is {got}, expected {want}");
    }
}

#[test]
fn position_buckets_are_the_references() {
    let Some(golden) = top_level("position_buckets.json") else { return };
    let list = |field: &str| -> Vec<i64> { serde_json::from_value(golden[field].clone()).unwrap() };
    let positions = list("relative_position");
    assert!(!positions.is_empty());
    for (field, bidirectional) in [("bidirectional", true), ("unidirectional", false)] {
        let got: Vec<i64> =
            positions.iter().map(|p| relative_position_bucket(*p, bidirectional, 32, 128) as i64).collect();
        assert_eq!(got, list(field), "{field}");
    }
}
