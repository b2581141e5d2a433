//! Task probabilities of the reference's sampler.

mod golden_support;

use golden_support::methods::{golden, json};
use hyperloader_trainer::sampler::task_probabilities;
use serde_json::Value;

#[test]
fn task_probabilities_are_the_references_at_every_size_and_temperature() {
    let sampler = json(&golden("hyperloader/sampler.json"));
    let sizes = |list: &Value, order: &Value| -> Vec<usize> {
        let names = order.as_array().unwrap().iter().map(|n| n.as_str().unwrap());
        names.map(|n| list[n].as_u64().unwrap() as usize).collect()
    };
    let order = &sampler["task_order"];
    let numbers = |list: &Value| -> Vec<usize> {
        list.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    let mut compared = 0;
    let mut compare = |sizes: &[usize], expected: &Value, order: Option<&Value>| {
        for (temperature, wanted) in expected.as_object().unwrap() {
            let wanted: Vec<f64> = match order {
                Some(order) => order
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|n| wanted[n.as_str().unwrap()].as_f64().unwrap())
                    .collect(),
                None => wanted.as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect(),
            };
            let found = task_probabilities(sizes, temperature.parse().unwrap());
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-12, "temperature {temperature}: {found} {wanted}");
                compared += 1;
            }
        }
    };
    compare(&numbers(&sampler["train_sizes"]), &sampler["probabilities"]["full"], Some(order));
    for share in ["10", "20"] {
        let sizes = sizes(&sampler["low_resource_train_sizes"][share], order);
        compare(&sizes, &sampler["probabilities"][share], Some(order));
    }
    compare(&numbers(&sampler["toy"]["sizes"]), &sampler["toy"]["probabilities"], None);
    assert!(compared > 0);
}
