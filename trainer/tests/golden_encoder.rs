//! Every method on an encoder against the PyTorch script of the same equations, `bench/golden/encoder.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod golden_support;

use std::collections::BTreeMap;

use golden_support::encoder::{EncoderCase, TASK};
use golden_support::{Tolerance, assert_close, assert_number, floats, integers, visible};
use hyperloader_core::backbone::{Backbone, BackboneConfig};
use hyperloader_core::method::names;
use hyperloader_core::weights::task::Linear;
use hyperloader_trainer::methods::generate;
use hyperloader_trainer::model::bert::{Bert, BertTask, Observed, TaskModules, tag_loss};
use hyperloader_trainer::parameters::{Parameters, to_device};
use tch::{Device, Tensor};

/// Of hidden states and logits.
const STATES: Tolerance = Tolerance::OfMaximumOr(5e-5, 1.0);
const LOSS: f64 = 1e-5;

struct Model {
    bert: Bert,
    task: BertTask,
    parameters: Parameters,
}

fn model(case: &EncoderCase) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let backbone = EncoderCase::backbone(folder.path());
    let parameters = Parameters::from_tensors(&case.trained, Device::Cpu);
    let bert = Bert::new(&case.config, |name| match parameters.get(name) {
        Some(tensor) => Ok::<_, ()>(tensor.shallow_clone()),
        None => Ok(to_device(&backbone.tensor(name).unwrap(), Device::Cpu)),
    });
    let weights = generate(&case.method, &case.config.shape(), &parameters, TASK).unwrap();
    let classifier = |end| {
        let name = names::of_task(TASK, &format!("{}.{end}", names::CLASSIFIER));
        parameters.get(&name).unwrap().shallow_clone()
    };
    let task = BertTask {
        modules: TaskModules::Ungated(weights),
        classifier: Linear { weight: classifier("weight"), bias: classifier("bias") },
    };
    Model { bert: bert.unwrap(), task, parameters }
}

fn observed_logits(model: &Model) -> (Tensor, Vec<Tensor>) {
    let inputs = EncoderCase::inputs();
    let [ids, mask] = ["input_ids", "attention_mask"].map(|name| integers(&inputs, name));
    let mut hidden = Vec::new();
    let mut observe = |observed: Observed<'_>| {
        if let Observed::Hidden(x) = observed {
            hidden.push(x.shallow_clone());
        }
    };
    let logits = model.bert.logits_observed(&model.task, [&ids, &mask], false, &mut observe);
    (logits, hidden)
}

#[test]
fn trained_tensors_are_those_of_the_method_by_name_and_shape() {
    for case in EncoderCase::all() {
        let ours = case.trainable().into_iter().map(|tensor| (tensor.name, tensor.shape));
        let theirs = case.trained.iter().map(|(name, tensor)| (name.clone(), tensor.shape().to_vec()));
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs.collect::<BTreeMap<_, _>>(), "{}", case.name);
    }
}

#[test]
fn hidden_states_and_logits_equal_those_of_the_script() {
    let mask = integers(&EncoderCase::inputs(), "attention_mask");
    for case in EncoderCase::all() {
        let (logits, hidden) = observed_logits(&model(&case));
        let file = case.open("io");
        assert_eq!(hidden.len(), case.config.num_hidden_layers + 1);
        for (i, got) in hidden.iter().enumerate() {
            let name = format!("hidden.{i}");
            let [got, wanted] = [got, &floats(&file, &name)].map(|states| visible(states, &mask));
            assert_close(&format!("{}: {name}", case.name), &got, &wanted, STATES);
        }
        let [got, wanted] = [&logits, &floats(&file, "logits")].map(|states| visible(states, &mask));
        let worst = assert_close(&format!("{}: logits", case.name), &got, &wanted, STATES);
        println!("{}: logits differ by {worst:.1e}", case.name);
    }
}

#[test]
fn the_mean_loss_and_the_gradient_of_every_trained_tensor_equal_those_of_the_script() {
    let inputs = EncoderCase::inputs();
    let [ids, mask, labels] = ["input_ids", "attention_mask", "labels"].map(|name| integers(&inputs, name));
    for case in EncoderCase::all() {
        let mut model = model(&case);
        // As in training: without padding.
        let logits = model.bert.logits(&model.task, [&ids, &mask], false);
        let loss = tag_loss(&logits, &mask, &labels, 0.0);
        let wanted = floats(&case.open("io"), "loss").double_value(&[]);
        assert_number(&format!("{}: loss", case.name), loss.sum / loss.tokens as f64, wanted, LOSS);

        model.parameters.backward(&(loss.surrogate * (loss.tokens as f64).recip()));
        let file = case.open("grads");
        let gradients: Vec<(&String, Tensor)> =
            file.shapes().keys().map(|name| (name, floats(&file, name))).collect();
        let largest = gradients.iter().map(|(_, g)| g.abs().max().double_value(&[])).fold(0.0, f64::max);
        let tolerance = Tolerance::OfMaximumOr(2e-3, 1e-3 * largest);
        let mut worst: f64 = 0.0;
        for (name, wanted) in &gradients {
            let got = model.parameters.gradient(name).unwrap_or_else(|| panic!("{name}: none"));
            let what = format!("{}: gradient of {name}", case.name);
            worst = worst.max(assert_close(&what, &got, wanted, tolerance));
        }
        assert_eq!(gradients.len(), model.parameters.iter().count(), "{}", case.name);
        println!("{}: {} gradients up to {largest:.1e} differ by {worst:.1e}", case.name, gradients.len());
    }
}
