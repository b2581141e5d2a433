//! The tensors that training changes, by name, as views of one flat tensor, and their gradients.

use std::collections::BTreeMap;
use std::ops::Range;

use hyperloader_core::method::{Init, TrainableTensor};
use hyperloader_core::tensors::{HostTensor, Tensors};
use tch::{Device, Kind, Tensor, no_grad};

/// Trainable tensors (float32), in the order of their names.
///
/// All of them lie in one flat tensor and so do their gradients, so that clipping and the optimiser run a few large
/// kernels, not a few for each tensor.
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
    /// A leaf that requires a gradient and shares memory with the flat tensor.
    pub tensor: Tensor,
    /// Its elements in the flat tensor.
    pub range: Range<i64>,
    /// Whether a backward pass since the last update has reached it.
    pub has_gradient: bool,
}

impl Parameters {
    /// Creates tensors as their [`Init`] says; `backbone` gives those that start as the backbone's.
    ///
    /// Random values are drawn on the CPU with libtorch's generator, which is seeded with `seed` here: the same seed
    /// gives the same tensors on every device.
    ///
    /// # Errors
    /// Those of `backbone`.
    pub fn initialise<E>(
        list: &[TrainableTensor],
        seed: u64,
        device: Device,
        mut backbone: impl FnMut(&str) -> Result<HostTensor, E>,
    ) -> Result<Self, E> {
        tch::manual_seed(seed.cast_signed());
        let mut tensors = BTreeMap::new();
        for entry in list {
            let mut tensor = Tensor::zeros(sizes(&entry.shape), (Kind::Float, Device::Cpu));
            match entry.init {
                Init::Zeros => {}
                Init::Ones => tensor = tensor.ones_like(),
                Init::Normal { std } => tensor = tensor.normal_(0.0, std),
                Init::Uniform { bound } => tensor = tensor.uniform_(-bound, bound),
                Init::Backbone => tensor = to_device(&backbone(&entry.name)?, Device::Cpu),
            }
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

    /// A tensor by name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        Some(&self.list[*self.index.get(name)?].tensor)
    }

    /// All tensors, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.list.iter()
    }

    /// Elements of all tensors together.
    pub fn count(&self) -> usize {
        self.flat.numel()
    }

    /// A copy of all tensors in main memory.
    pub fn to_host(&self) -> Tensors {
        self.list.iter().map(|p| (p.name.clone(), to_host(&p.tensor))).collect()
    }

    /// Runs the backward pass from the scalar `objective` and adds its gradient to the one that is there.
    ///
    /// The graph of `objective` is consumed.
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

    /// The gradient of a tensor since the last update, in its shape; `None` if no backward pass has reached it.
    pub fn gradient(&self, name: &str) -> Option<Tensor> {
        let parameter = &self.list[*self.index.get(name)?];
        let Range { start, end } = parameter.range;
        let shape = parameter.tensor.size();
        parameter.has_gradient.then(|| self.gradient.narrow(0, start, end - start).view(shape.as_slice()))
    }

    /// All values and all gradients, flat (`[count]`), in the order of the names; gradients that are absent are 0.
    pub(crate) fn flat(&self) -> (&Tensor, &Tensor) {
        (&self.flat, &self.gradient)
    }

    /// Forgets all gradients.
    pub fn clear_gradients(&mut self) {
        let _ = self.gradient.zero_();
        self.list.iter_mut().for_each(|p| p.has_gradient = false);
    }
}

fn sizes(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|n| *n as i64).collect()
}

/// A tensor of main memory on a device.
pub fn to_device(tensor: &HostTensor, device: Device) -> Tensor {
    let rows = tensor.as_standard_layout();
    let flat = Tensor::from_slice(rows.as_slice().unwrap_or_default());
    flat.view(sizes(tensor.shape()).as_slice()).to_device(device)
}

/// A copy of a tensor in main memory, as float32.
pub fn to_host(tensor: &Tensor) -> HostTensor {
    let flat = no_grad(|| tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous());
    let mut values = vec![0.0; flat.numel()];
    flat.copy_data(&mut values, flat.numel());
    let shape: Vec<usize> = tensor.size().iter().map(|n| *n as usize).collect();
    HostTensor::from_shape_vec(shape, values).expect("as many values as the shape has elements")
}
