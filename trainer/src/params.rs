//! `hl-train params`: trainable and total parameters, counted from the tensors that a training would create.

use std::convert::Infallible;

use hyperloader_core::method::HyperConfig;
use hyperloader_core::t5::T5Config;
use hyperloader_core::tensors::HostTensor;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::parameters::Parameters;

/// Parameters of a method on a backbone.
#[derive(Debug, Clone, Serialize)]
pub struct ParameterCount {
    /// Elements of the tensors that training changes.
    pub trainable: usize,
    /// Elements of those and of the frozen backbone; a tied embedding counts once.
    pub total: usize,
    /// `trainable / total`.
    pub ratio: f64,
}

/// Creates the tensors of a training and counts their elements. Only a shape stands for the backbone: its tensors stay
/// without values.
pub fn count(method: &HyperConfig, t5: &T5Config, tasks: &[String]) -> ParameterCount {
    let shapes = t5.tensors();
    let placeholder = |name: &str| Ok::<_, Infallible>(HostTensor::ones(shapes[name].as_slice()));
    let list = method.trainable_tensors(t5, tasks);
    let Ok(parameters) = Parameters::initialise(&list, 0, Device::Cpu, placeholder);
    let frozen: usize = shapes
        .iter()
        .filter(|(name, _)| parameters.get(name).is_none())
        .map(|(_, shape)| {
            let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
            Tensor::empty(shape.as_slice(), (Kind::Float, Device::Cpu)).numel()
        })
        .sum();
    let trainable = parameters.count();
    let total = trainable + frozen;
    ParameterCount { trainable, total, ratio: trainable as f64 / total as f64 }
}
