//! UniPELT on a BERT (Mao et al. 2022; docs/reference/baselines.md#unipelt-on-bert): gated LoRA, prefix and adapter in
//! every layer, and a token classifier after the last layer. Each task has its own modules and classifier.

use serde::{Deserialize, Serialize};

use super::error::MethodError;
use super::family::{MethodFamily, Sharing, TaskShape, check_reduction};
use super::kind::Method;
use super::tensors::{Init, TrainableTensor};
use crate::backbone::shape::BackboneShape;
use crate::weights::site::Stack;
use crate::weights::task::Linear;

/// Hyper-parameters of `unipelt-bert`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table of hyper-parameters")]
pub struct UnipeltBertConfig {
    /// [`Method::UnipeltBert`].
    pub method: Method,
    /// Rank of the LoRA pairs on queries and values.
    pub lora_rank: usize,
    /// Number of positions added before the keys and values of every layer.
    pub prefix_len: usize,
    /// Hidden width of the two linear maps that generate the prefix from its embedding; 0 trains the prefix directly.
    pub prefix_hidden: usize,
    /// `hidden_size` divided by this is an adapter's bottleneck.
    pub adapter_reduction_factor: usize,
    /// Whether a gate is the mean over padding too, as in the reference implementation: the tags of a sentence then depend
    /// on how far its batch is padded (docs/reference/baselines.md#unipelt-on-bert).
    pub gate_over_padding: bool,
}

impl Default for UnipeltBertConfig {
    fn default() -> Self {
        Self {
            method: Method::UnipeltBert,
            lora_rank: 8,
            prefix_len: 10,
            prefix_hidden: 512,
            adapter_reduction_factor: 16,
            gate_over_padding: false,
        }
    }
}

pub(super) fn variants() -> Vec<(&'static str, UnipeltBertConfig)> {
    let flat = UnipeltBertConfig { prefix_hidden: 0, ..UnipeltBertConfig::default() };
    vec![("unipelt-bert", UnipeltBertConfig::default()), ("unipelt-bert-flat", flat)]
}

impl MethodFamily for UnipeltBertConfig {
    fn method(&self) -> Method {
        self.method
    }

    fn sharing(&self) -> Sharing {
        Sharing::Nothing
    }

    /// LoRA and adapters start as docs/reference/baselines.md#unipelt-on-bert says, all else as BERT's own maps and
    /// embeddings do: N(0, 0.02²) and biases of 0.
    fn trainable_tensors(&self, shape: &BackboneShape, tasks: &[TaskShape]) -> Vec<TrainableTensor> {
        tasks.iter().flat_map(|task| self.task_tensors(shape, task)).collect()
    }

    fn check(&self, shape: &BackboneShape) -> Result<(), MethodError> {
        let value = |field, value: usize, expected: &str| {
            Err(MethodError::Value { field, value: value.to_string(), expected: expected.to_owned() })
        };
        check_reduction("adapter_reduction_factor", self.adapter_reduction_factor, shape)?;
        if self.lora_rank == 0 || self.lora_rank > shape.width {
            let expected = format!("a number from 1 to `{}`", shape.width_field);
            return value("lora_rank", self.lora_rank, &expected);
        }
        if self.prefix_len == 0 || self.prefix_len > 1 << 10 {
            return value("prefix_len", self.prefix_len, "a number from 1 to 1024");
        }
        if self.prefix_hidden > 1 << 16 {
            return value("prefix_hidden", self.prefix_hidden, "a number from 0 to 65536");
        }
        Ok(())
    }
}

impl UnipeltBertConfig {
    /// Bottleneck of an adapter on hidden states of `width`: `width / adapter_reduction_factor`.
    pub fn bottleneck(&self, width: usize) -> usize {
        width / self.adapter_reduction_factor.max(1)
    }

    fn task_tensors(&self, shape: &BackboneShape, task: &TaskShape) -> Vec<TrainableTensor> {
        const NORMAL: Init = Init::Normal { std: 0.02 };
        let (d, layers) = (shape.width, shape.blocks(Stack::Encoder));
        let TaskShape { name: task, bio_tags } = task;
        let mut list = Vec::new();
        let mut add = |part: &str, shape: &[usize], init| {
            list.push(TrainableTensor { name: names::of_task(task, part), shape: shape.to_vec(), init });
        };
        let mut linear = |part: &str, [out, input]: [usize; 2]| {
            add(&format!("{part}.weight"), &[out, input], NORMAL);
            add(&format!("{part}.bias"), &[out], Init::Zeros);
        };
        let flat = 2 * layers * d;
        if self.prefix_hidden > 0 {
            linear(names::PREFIX_INNER, [self.prefix_hidden, d]);
            linear(names::PREFIX_OUTER, [flat, self.prefix_hidden]);
        }
        for layer in 0..layers {
            for site in names::LORA {
                linear(&names::layer(layer, &format!("{site}.lora_gate")), [1, d]);
            }
            linear(&names::layer(layer, names::PREFIX_GATE), [1, d]);
            linear(&names::layer(layer, names::ADAPTER_DOWN), [self.bottleneck(d), d]);
            linear(&names::layer(layer, names::ADAPTER_UP), [d, self.bottleneck(d)]);
            linear(&names::layer(layer, names::ADAPTER_GATE), [1, d]);
        }
        linear(names::CLASSIFIER, [*bio_tags, d]);
        match self.prefix_hidden {
            0 => add(names::PREFIX, &[self.prefix_len, flat], NORMAL),
            _ => add(names::PREFIX_EMBEDDING, &[self.prefix_len, d], NORMAL),
        }
        // Kaiming-uniform with a = sqrt(5) comes to 1/sqrt(fan_in).
        let bound = (d as f64).powf(-0.5);
        for layer in 0..layers {
            for site in names::LORA {
                add(
                    &names::layer(layer, &format!("{site}.lora_A")),
                    &[self.lora_rank, d],
                    Init::Uniform { bound },
                );
                add(&names::layer(layer, &format!("{site}.lora_B")), &[d, self.lora_rank], Init::Zeros);
            }
        }
        list
    }
}

/// The modules of one task: all of its trained tensors but the classifier.
#[derive(Debug, Clone)]
pub struct UnipeltWeights<T> {
    /// The source of all layers' prefixes.
    pub prefix: Prefix<T>,
    /// The modules of each layer.
    pub layers: Vec<PeltLayer<T>>,
}

/// The source of the prefixes. The flat prefix `[prefix_len, 2 * layers * hidden_size]` holds keys and values of each layer
/// in turn, heads side by side.
#[derive(Debug, Clone)]
pub enum Prefix<T> {
    /// `outer(tanh(inner(embedding)))`.
    Made {
        /// `[prefix_len, hidden_size]`.
        embedding: T,
        /// To `prefix_hidden`.
        inner: Linear<T>,
        /// To `2 * layers * hidden_size`.
        outer: Linear<T>,
    },
    /// The flat prefix, trained directly.
    Flat(T),
}

/// The modules of a layer. A gate is the mean over positions of `sigmoid(w x + b)`, one number a sentence.
#[derive(Debug, Clone)]
pub struct PeltLayer<T> {
    /// Gated LoRA on the queries.
    pub query: GatedLora<T>,
    /// Gated LoRA on the values.
    pub value: GatedLora<T>,
    /// The gate of the prefix, from the layer's input, `[1, hidden_size]`.
    pub prefix_gate: Linear<T>,
    /// Gated adapter after the feed-forward layer.
    pub adapter: GatedAdapter<T>,
}

/// `W x + b + g * (x A^T) B^T`: the gate takes the place of `alpha / rank`.
#[derive(Debug, Clone)]
pub struct GatedLora<T> {
    /// `[rank, hidden_size]`.
    pub a: T,
    /// `[hidden_size, rank]`.
    pub b: T,
    /// From the layer's input, `[1, hidden_size]`.
    pub gate: Linear<T>,
}

/// `g * up(relu(down(h)))`.
#[derive(Debug, Clone)]
pub struct GatedAdapter<T> {
    /// `[bottleneck, hidden_size]`.
    pub down: Linear<T>,
    /// `[hidden_size, bottleneck]`.
    pub up: Linear<T>,
    /// From the adapter's input, `[1, hidden_size]`.
    pub gate: Linear<T>,
}

impl<T> UnipeltWeights<T> {
    /// A task's modules on a BERT with `layers` layers; `tensor` is called once for each name of a trainable
    /// tensor but those of the classifier.
    ///
    /// # Errors
    /// Those of `tensor`.
    pub fn gather<E>(
        config: &UnipeltBertConfig,
        layers: usize,
        task: &str,
        mut tensor: impl FnMut(&str) -> Result<T, E>,
    ) -> Result<Self, E> {
        let mut get = |part: &str| tensor(&names::of_task(task, part));
        let prefix = match config.prefix_hidden {
            0 => Prefix::Flat(get(names::PREFIX)?),
            _ => Prefix::Made {
                embedding: get(names::PREFIX_EMBEDDING)?,
                inner: linear(names::PREFIX_INNER, &mut get)?,
                outer: linear(names::PREFIX_OUTER, &mut get)?,
            },
        };
        let layers = (0..layers).map(|i| PeltLayer::gather(i, &mut get)).collect::<Result<_, E>>()?;
        Ok(Self { prefix, layers })
    }
}

impl<T> PeltLayer<T> {
    fn gather<E>(layer: usize, get: &mut impl FnMut(&str) -> Result<T, E>) -> Result<Self, E> {
        let mut lora = |site: &str| -> Result<GatedLora<T>, E> {
            Ok(GatedLora {
                a: get(&names::layer(layer, &format!("{site}.lora_A")))?,
                b: get(&names::layer(layer, &format!("{site}.lora_B")))?,
                gate: linear(&names::layer(layer, &format!("{site}.lora_gate")), get)?,
            })
        };
        let [query, value] = names::LORA;
        let (query, value) = (lora(query)?, lora(value)?);
        let mut map = |part| linear(&names::layer(layer, part), get);
        Ok(Self {
            query,
            value,
            prefix_gate: map(names::PREFIX_GATE)?,
            adapter: GatedAdapter {
                down: map(names::ADAPTER_DOWN)?,
                up: map(names::ADAPTER_UP)?,
                gate: map(names::ADAPTER_GATE)?,
            },
        })
    }
}

fn linear<T, E>(part: &str, get: &mut impl FnMut(&str) -> Result<T, E>) -> Result<Linear<T>, E> {
    Ok(Linear { weight: get(&format!("{part}.weight"))?, bias: get(&format!("{part}.bias"))? })
}

/// Names of the tensors: `task.TASK.` and the reference implementation's name.
pub mod names {
    /// Embedding from which the prefix is generated, `[prefix_len, hidden_size]`.
    pub const PREFIX_EMBEDDING: &str = "bert.encoder.prefix_enc_embed.weight";
    /// First linear map of the prefix.
    pub const PREFIX_INNER: &str = "bert.encoder.prefix_embed_MLP.0";
    /// Second linear map of the prefix.
    pub const PREFIX_OUTER: &str = "bert.encoder.prefix_embed_MLP.2";
    /// The flat prefix, if it is trained directly; the reference implementation has no name for it.
    pub const PREFIX: &str = "bert.encoder.prefix";
    /// The projections of a layer that have LoRA: queries, values.
    pub const LORA: [&str; 2] = ["attention.self.query", "attention.self.value"];
    /// Gate of a layer's prefix.
    pub const PREFIX_GATE: &str = "attention.self.prefix_gate";
    /// First linear map of a layer's adapter.
    pub const ADAPTER_DOWN: &str = "output.adapters.task.adapter_down.0";
    /// Second linear map of a layer's adapter.
    pub const ADAPTER_UP: &str = "output.adapters.task.adapter_up";
    /// Gate of a layer's adapter.
    pub const ADAPTER_GATE: &str = "output.adapters.task.gate";

    pub use crate::backbone::bert::names::layer;

    pub use crate::method::names::{CLASSIFIER, of_task};
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::BackboneConfig;
    use crate::backbone::bert::BertConfig;
    use crate::method::config::MethodConfig;

    fn count(config: &UnipeltBertConfig, tags: usize) -> usize {
        let bert = BertConfig::preset("bert-base").unwrap();
        let tasks = [TaskShape { name: "a".to_owned(), bio_tags: tags }];
        let config = MethodConfig::from(config.clone());
        config.validate(&bert, &tasks).unwrap();
        let tensors = config.trainable_tensors(&bert, &tasks);
        tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum()
    }

    #[test]
    fn trainable_counts_are_those_of_the_formulas() {
        let head = |tags: usize| tags * 768 + tags;
        let flat = UnipeltBertConfig { prefix_hidden: 0, ..UnipeltBertConfig::default() };
        assert_eq!(count(&flat, 9), 1_410_672 + head(9));
        assert_eq!(count(&UnipeltBertConfig::default(), 9), 1_410_672 - 184_320 + 9_857_024 + head(9));
    }

    #[test]
    fn gathering_asks_for_every_tensor_once() {
        let bert = BertConfig::preset("minilm-l12-h384").unwrap();
        for prefix_hidden in [0, 7] {
            let config = UnipeltBertConfig { prefix_hidden, ..UnipeltBertConfig::default() };
            let mut asked = Vec::new();
            let gathered = UnipeltWeights::gather(&config, 12, "a", |name| {
                asked.push(name.to_owned());
                Ok::<_, ()>(())
            });
            assert_eq!(gathered.unwrap().layers.len(), 12);
            let task = TaskShape { name: "a".to_owned(), bio_tags: 5 };
            let list = config.trainable_tensors(&bert.shape(), &[task]);
            let mut listed: Vec<String> = list.into_iter().map(|t| t.name).collect();
            listed.retain(|name| !name.starts_with("task.a.classifier."));
            asked.sort();
            listed.sort();
            assert_eq!(asked, listed);
        }
    }

    #[test]
    fn impossible_hyper_parameters_are_named() {
        let bert = BertConfig::preset("bert-base").unwrap();
        let tasks = TaskShape::named(&["a".to_owned()]);
        let good = UnipeltBertConfig::default;
        for (config, said) in [
            (UnipeltBertConfig { adapter_reduction_factor: 5, ..good() }, "`adapter_reduction_factor` is 5"),
            (UnipeltBertConfig { lora_rank: 0, ..good() }, "`lora_rank` is 0"),
            (UnipeltBertConfig { prefix_len: 0, ..good() }, "`prefix_len` is 0"),
            (UnipeltBertConfig { prefix_hidden: 1 << 20, ..good() }, "`prefix_hidden`"),
        ] {
            let message = MethodConfig::from(config).validate(&bert, &tasks).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
        assert!(MethodConfig::from(good()).validate(&bert, &[]).unwrap_err().to_string().contains("missing"));
    }
}
