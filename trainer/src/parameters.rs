//! Trainable tensors by name, stored as views of one flat tensor, and their gradients.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::ops::Range;

use hyperloader_core::method::{Init, TrainableTensor};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor, no_grad};

/// A trainable tensor is missing.
#[derive(Debug, thiserror::Error)]
#[error("trainable tensor `{0}` is missing")]
pub struct MissingTensor(pub String);

/// Trainable tensors in the order of their names; float32 unless converted.
///
/// One flat tensor holds all values and another all gradients. Clipping and the optimizer thus run a few large kernels
/// instead of a few per tensor.
#[derive(Debug)]
pub struct Parameters {
    flat: Tensor,
    gradient: Tensor,
    list: Vec<Parameter>,
    index: BTreeMap<String, usize>,
}

/// One trainable tensor.
#[derive(Debug)]
pub struct Parameter {
    /// Name, as in [`TrainableTensor`].
    pub name: String,
    /// A leaf that requires a gradient. It shares its memory with the flat tensor.
    pub tensor: Tensor,
    /// The range of its elements in the flat tensor.
    pub range: Range<i64>,
    /// Whether a backward pass since the last update has reached the tensor.
    pub has_gradient: bool,
}

impl Parameters {
    /// Creates tensors as their [`Init`] says. `backbone` returns the values of tensors that start as the backbone's.
    ///
    /// Random values are drawn on the CPU by a separate generator. The same seed therefore gives the same tensors on every
    /// device, and the generator of dropout is not advanced.
    ///
    /// # Errors
    /// The errors of `backbone`.
    pub fn initialise<E>(
        list: &[TrainableTensor],
        seed: u64,
        device: Device,
        mut backbone: impl FnMut(&str) -> Result<HostTensor, E>,
    ) -> Result<Self, E> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = BTreeMap::new();
        for entry in list {
            let elements: usize = entry.shape.iter().product();
            let mut fill = |draw: &dyn Fn(&mut ChaCha8Rng) -> f64| {
                let values: Vec<f32> = (0..elements).map(|_| draw(&mut random) as f32).collect();
                Tensor::from_slice(&values).view(sizes(&entry.shape).as_slice())
            };
            let tensor = match entry.init {
                Init::Zeros => fill(&|_| 0.0),
                Init::Ones => fill(&|_| 1.0),
                Init::Normal { std } => fill(&|random| std * normal(random)),
                Init::Uniform { bound } => fill(&|random| random.random_range(-bound..bound)),
                Init::Backbone => to_device(&backbone(&entry.name)?, Device::Cpu),
            };
            tensors.insert(entry.name.clone(), tensor);
        }
        Ok(Self::from_map(&tensors, device))
    }

    /// Tensors read from a checkpoint.
    pub fn from_tensors(tensors: &Tensors, device: Device) -> Self {
        let on_cpu = |(name, t): (&String, &HostTensor)| (name.clone(), to_device(t, Device::Cpu));
        Self::from_map(&tensors.iter().map(on_cpu).collect(), device)
    }

    fn from_map(tensors: &BTreeMap<String, Tensor>, device: Device) -> Self {
        let rows: Vec<Tensor> = tensors.values().map(|t| t.reshape(-1)).collect();
        let flat = match rows.is_empty() {
            true => Tensor::zeros([0], (Kind::Float, device)),
            false => Tensor::cat(&rows, 0).to_device(device),
        };
        let mut list = Vec::new();
        let mut start = 0;
        for (name, tensor) in tensors {
            let length = tensor.numel() as i64;
            let view = flat.narrow(0, start, length).view(tensor.size().as_slice());
            list.push(Parameter {
                name: name.clone(),
                tensor: view.set_requires_grad(true),
                range: start..start + length,
                has_gradient: false,
            });
            start += length;
        }
        Self {
            gradient: flat.zeros_like(),
            flat,
            index: list.iter().enumerate().map(|(i, p)| (p.name.clone(), i)).collect(),
            list,
        }
    }

    /// A copy in another precision. Tests use float64 to tell rounding from errors.
    pub fn to_kind(&self, kind: Kind) -> Self {
        let converted = |p: &Parameter| (p.name.clone(), p.tensor.detach().to_kind(kind));
        Self::from_map(&self.iter().map(converted).collect(), self.flat.device())
    }

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        Some(&self.list[*self.index.get(name)?].tensor)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// If there is none.
    pub fn require(&self, name: &str) -> Result<&Tensor, MissingTensor> {
        self.get(name).ok_or_else(|| MissingTensor(name.to_owned()))
    }

    /// All tensors, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// The number of elements of all tensors.
    pub fn count(&self) -> usize {
        self.flat.numel()
    }

    /// A copy of all tensors in main memory, as float32.
    pub fn to_host(&self) -> Tensors {
        self.list.iter().map(|p| (p.name.clone(), to_host(&p.tensor))).collect()
    }

    /// Runs the backward pass from the scalar `objective` and adds its gradients to those of earlier passes.
    ///
    /// This frees the graph of `objective`.
    pub fn backward(&mut self, objective: &Tensor) {
        let leaves: Vec<&Tensor> = self.list.iter().map(|p| &p.tensor).collect();
        let gradients = Tensor::run_backward(&[objective], &leaves, false, false);
        no_grad(|| {
            for (parameter, gradient) in self.list.iter_mut().zip(gradients) {
                if !gradient.defined() {
                    continue;
                }
                let Range { start, end } = parameter.range;
                let mut sum = self.gradient.narrow(0, start, end - start);
                if parameter.has_gradient {
                    sum += gradient.reshape(-1);
                } else {
                    sum.copy_(&gradient.reshape(-1));
                }
                parameter.has_gradient = true;
            }
        });
    }

    /// The gradient of a tensor since the last update, in its shape. `None` if no backward pass has reached it.
    pub fn gradient(&self, name: &str) -> Option<Tensor> {
        let parameter = &self.list[*self.index.get(name)?];
        let Range { start, end } = parameter.range;
        let shape = parameter.tensor.size();
        parameter.has_gradient.then(|| self.gradient.narrow(0, start, end - start).view(shape.as_slice()))
    }

    /// All values and all gradients, each `[count]`, in the order of the names. Absent gradients are 0.
    pub(crate) fn flat(&self) -> (&Tensor, &Tensor) {
        (&self.flat, &self.gradient)
    }

    /// Removes all gradients and returns them in main memory: `[count]`, in the order of the names, absent ones 0; and for
    /// each tensor whether it has one.
    pub fn take_gradients(&mut self) -> (Vec<f32>, Vec<bool>) {
        let gradient = to_host(&self.gradient).into_raw_vec_and_offset().0;
        let reached = self.list.iter().map(|p| p.has_gradient).collect();
        self.clear_gradients();
        (gradient, reached)
    }

    /// Replaces all gradients by those that [`Parameters::take_gradients`] returned, or sums of them.
    pub fn set_gradients(&mut self, gradient: &[f32], reached: &[bool]) {
        self.gradient.copy_(&Tensor::from_slice(gradient).to_device(self.gradient.device()));
        self.list.iter_mut().zip(reached).for_each(|(p, reached)| p.has_gradient = *reached);
    }

    /// Removes all gradients.
    pub fn clear_gradients(&mut self) {
        let _ = self.gradient.zero_();
        self.list.iter_mut().for_each(|p| p.has_gradient = false);
    }
}

/// A draw from the standard normal distribution (Box and Muller 1958).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    // In (0, 1], so that its logarithm is finite.
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (TAU * random.random::<f64>()).cos()
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|n| *n as i64).collect()
}

/// Copies a tensor from main memory to a device.
pub fn to_device(tensor: &HostTensor, device: Device) -> Tensor {
    let rows = tensor.as_standard_layout();
    let flat = Tensor::from_slice(rows.as_slice().unwrap_or_default());
    flat.view(sizes(tensor.shape()).as_slice()).to_device(device)
}

/// Copies a tensor to main memory, as float32.
pub fn to_host(tensor: &Tensor) -> HostTensor {
    let flat = no_grad(|| tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous());
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    let shape: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
    HostTensor::from_shape_vec(shape, values).expect("as many values as the shape has elements")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn list() -> Vec<TrainableTensor> {
        let entry = |name: &str, shape: &[usize], init| TrainableTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            init,
        };
        vec![
            entry("normal", &[300, 200], Init::Normal { std: 0.01 }),
            entry("uniform", &[300, 200], Init::Uniform { bound: 0.125 }),
            entry("ones", &[3], Init::Ones),
            entry("backbone", &[2, 2], Init::Backbone),
            entry("zeros", &[4], Init::Zeros),
        ]
    }

    fn parameters(seed: u64) -> Parameters {
        let backbone = |name: &str| {
            assert_eq!(name, "backbone");
            Ok::<_, Infallible>(HostTensor::from_shape_vec(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap())
        };
        Parameters::initialise(&list(), seed, Device::Cpu, backbone).unwrap()
    }

    #[test]
    fn every_tensor_starts_as_its_init_says() {
        let all = parameters(1);
        let host = all.to_host();
        assert_eq!(all.count(), 2 * 60_000 + 3 + 4 + 4);
        assert!(host["zeros"].iter().all(|x| *x == 0.0));
        assert!(host["ones"].iter().all(|x| *x == 1.0));
        assert_eq!(host["backbone"].iter().copied().collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
        let deviation = |name: &str| host[name].std(0.0);
        assert!((deviation("normal") / 0.01 - 1.0).abs() < 0.02, "{}", deviation("normal"));
        assert!((deviation("uniform") / (0.125 / 3.0_f32.sqrt()) - 1.0).abs() < 0.02);
        assert!(host["uniform"].iter().all(|x| x.abs() <= 0.125));
        assert!(all.iter().all(|p| p.tensor.requires_grad()));
    }

    #[test]
    fn the_seed_alone_decides_the_random_values() {
        let first = parameters(1).to_host();
        assert_eq!(parameters(1).to_host(), first);
        assert_ne!(parameters(2).to_host()["normal"], first["normal"]);
    }

    #[test]
    fn tensors_survive_the_round_trip_from_main_memory_and_back() {
        let host = parameters(3).to_host();
        assert_eq!(Parameters::from_tensors(&host, Device::Cpu).to_host(), host);
        let double = Parameters::from_tensors(&host, Device::Cpu).to_kind(Kind::Double);
        assert_eq!(double.to_host(), host);
    }

    #[test]
    fn gradients_add_up_until_they_are_cleared_and_are_absent_for_tensors_that_the_objective_does_not_use() {
        let mut all = parameters(1);
        let objective = |all: &Parameters| (all.get("ones").unwrap() * 3.0).sum(None);
        all.backward(&objective(&all));
        all.backward(&objective(&all));
        let gradient = |all: &Parameters, name| all.gradient(name).map(|g| Vec::<f32>::try_from(g).unwrap());
        assert_eq!(gradient(&all, "ones"), Some(vec![6.0; 3]));
        assert_eq!(gradient(&all, "zeros"), None);
        all.clear_gradients();
        assert_eq!(gradient(&all, "ones"), None);
        all.backward(&objective(&all));
        assert_eq!(gradient(&all, "ones"), Some(vec![3.0; 3]));
    }
}
