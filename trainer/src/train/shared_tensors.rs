//! Tensors as processes exchange them.

use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use serde::{Deserialize, Serialize};

/// Named tensors that can be sent to another process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub(super) struct SharedTensors(pub(super) Tensors);

/// Names, shapes and elements.
type Parts = Vec<(String, Vec<usize>, Vec<f32>)>;

impl From<SharedTensors> for Parts {
    fn from(SharedTensors(tensors): SharedTensors) -> Self {
        let parts = |(name, tensor): (String, HostTensor)| {
            let shape = tensor.shape().to_vec();
            (name, shape, tensor.iter().copied().collect())
        };
        tensors.into_iter().map(parts).collect()
    }
}

impl From<Parts> for SharedTensors {
    fn from(parts: Parts) -> Self {
        let tensor = |(name, shape, values)| {
            let tensor = HostTensor::from_shape_vec(shape, values);
            (name, tensor.expect("as many values as the shape has elements"))
        };
        Self(parts.into_iter().map(tensor).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_the_way_to_another_process() {
        let matrix = HostTensor::from_shape_vec(vec![2, 3], vec![1., -0., f32::NAN, 4., 5., 6.]).unwrap();
        let tensors = Tensors::from([
            ("matrix".to_owned(), matrix.clone().reversed_axes()),
            ("none".to_owned(), HostTensor::zeros(vec![0])),
            ("scalar".to_owned(), HostTensor::zeros(vec![])),
        ]);
        let bytes = postcard::to_stdvec(&SharedTensors(tensors.clone())).unwrap();
        let SharedTensors(again) = postcard::from_bytes(&bytes).unwrap();
        let bits = |tensors: &Tensors| -> Vec<(String, Vec<usize>, Vec<u32>)> {
            let of = |(name, t): (&String, &HostTensor)| {
                (name.clone(), t.shape().to_vec(), t.iter().map(|x| x.to_bits()).collect())
            };
            tensors.iter().map(of).collect()
        };
        assert_eq!(bits(&again), bits(&tensors));
    }
}
