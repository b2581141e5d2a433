//! A task's T5 in a larger shape, computing the same function.
//!
//! The hidden state `x` `[d]` becomes `[c x, 0]` `[d']` with `c = sqrt(d' / d)`. Its mean square is then unchanged, and
//! with it every RMS norm, epsilon included. Norm scales are divided by `c`, so that the output of a norm is `[n, 0]` with
//! the narrow model's `n`. Matrices that read this output get columns of padding; matrices that write to the hidden state
//! are multiplied by `c`. Additional heads, feed-forward units and blocks write nothing. In T5 v1.0, the factor `c` of the
//! tied head replaces `d'^-0.5` by `d^-0.5`.
//!
//! The padding is noise of at most [`NOISE`], not zero. Engines keep one copy of equal matrices (CTranslate2 kept 379 MB
//! of 892), which then stays in the processor's cache, so that memory-bound decoding would take less time than with a
//! T5-base. The noise changes the other channels by about 1e-10, which rounding removes, also in int8. Products of a few
//! of its numbers are far from denormal numbers, which would be slow.

use hyperloader_core::backbone::t5::{Stack, T5Config, names};
use hyperloader_core::text::drafter::Drafter;
use hyperloader_core::weights::task::{Adapter, BlockWeights, LayerNorm, TaskWeights};
use hyperloader_core::weights::tensors::{HostTensor, Tensors};
use hyperloader_exporter::ModelError;
use hyperloader_exporter::t5::T5Model;
use ndarray::{Array1, Array2, ArrayD, ArrayView2, Ix2};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Largest magnitude of the numbers that models are padded with.
const NOISE: f32 = 1e-6;

/// A model could not be widened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WidenError {
    /// The requested shape is smaller than the model.
    #[error("`{field}` of the shape is {wide}, the model has {narrow}, and a model can only grow")]
    Smaller { field: &'static str, narrow: usize, wide: usize },
    /// The LayerNorm of an adapter keeps its mean and variance only over whole copies of the channels.
    #[error("`d_model` of the shape is {wide}, expected a multiple of the model's {narrow}: it has adapters")]
    Copies { narrow: usize, wide: usize },
    /// The weights of the model depend on the sentence.
    #[error("the model generates weights for each sentence, which is not widened")]
    Generator,
    /// A tensor of the model is unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A model and the shape that it is widened to.
#[derive(Debug)]
pub(crate) struct Widening<'a> {
    narrow: &'a T5Model,
    wide: T5Config,
    /// The factor of the hidden state, `sqrt(d' / d)`.
    gain: f64,
}

impl<'a> Widening<'a> {
    /// `narrow` in the widths, heads and depths of `shape`; all else of the configuration stays the model's.
    pub(crate) fn new(narrow: &'a T5Model, shape: &T5Config) -> Result<Self, WidenError> {
        if narrow.weights().generator.is_some() {
            return Err(WidenError::Generator);
        }
        let from = narrow.config();
        let wide = T5Config {
            d_model: shape.d_model,
            d_kv: shape.d_kv,
            d_ff: shape.d_ff,
            num_heads: shape.num_heads,
            num_layers: shape.num_layers,
            num_decoder_layers: Some(shape.layers(Stack::Decoder)),
            ..from.clone()
        };
        let widths = [
            ("d_model", from.d_model, wide.d_model),
            ("d_kv", from.d_kv, wide.d_kv),
            ("d_ff", from.d_ff, wide.d_ff),
            ("num_heads", from.num_heads, wide.num_heads),
            ("num_layers", from.layers(Stack::Encoder), wide.layers(Stack::Encoder)),
            ("num_decoder_layers", from.layers(Stack::Decoder), wide.layers(Stack::Decoder)),
        ];
        if let Some((field, narrow, wide)) = widths.into_iter().find(|(_, narrow, wide)| wide < narrow) {
            return Err(WidenError::Smaller { field, narrow, wide });
        }
        let gain = (wide.d_model as f64 / from.d_model as f64).sqrt();
        let widening = Self { narrow, wide, gain };
        if widening.has_adapters() && !widening.wide.d_model.is_multiple_of(from.d_model) {
            return Err(WidenError::Copies { narrow: from.d_model, wide: widening.wide.d_model });
        }
        Ok(widening)
    }

    /// The wide model's configuration.
    pub(crate) fn config(&self) -> &T5Config {
        &self.wide
    }

    /// Whether the model has adapters, which no other engine can hold.
    pub(crate) fn has_adapters(&self) -> bool {
        let adapted = |block: &BlockWeights<_>| {
            block.self_attention_adapter.is_some() || block.feed_forward_adapter.is_some()
        };
        Stack::BOTH.into_iter().any(|stack| self.narrow.weights().blocks(stack).iter().any(adapted))
    }

    /// Every tensor of the wide T5 by Hugging Face's name, LoRA folded in.
    pub(crate) fn tensors(&self) -> Result<Tensors, WidenError> {
        let known = self.narrow.config().tensors();
        let mut padding = Padding::new(0);
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let tensor = match known.contains_key(&name) {
                true => self.tensor(&name, &shape, &mut padding)?,
                // A block after the last one of the narrow model. Its output is discarded, so that its norms do not matter.
                false if shape.len() == 1 => ArrayD::ones(shape),
                false => padding.matrix([shape[0], shape[1]]).into_dyn(),
            };
            Ok((name, tensor))
        };
        self.wide.tensors().into_iter().map(tensor).collect()
    }

    fn tensor(&self, name: &str, shape: &[usize], padding: &mut Padding) -> Result<HostTensor, WidenError> {
        let narrow = self.narrow.folded_tensor(name)?;
        if let [width] = *shape {
            let scale = self.norm_scale(name);
            return Ok(padded_vector(&narrow, width, scale, 1.0));
        }
        let misfit =
            || ModelError::Rank { name: name.to_owned(), found: narrow.shape().to_vec(), expected: 2 };
        let matrix = narrow.view().into_dimensionality::<Ix2>().map_err(|_| misfit())?;
        // `block.0.layer.0.SelfAttention.q.weight`: the part is the last but one.
        let part = name.rsplit('.').nth(1).unwrap_or_default();
        let by_head = |index| self.by_head(index);
        let mut wide = padding.matrix([shape[0], shape[1]]);
        match part {
            "q" | "k" | "v" => place(matrix, &mut wide, by_head, |column| column, 1.0),
            "o" => place(matrix, &mut wide, |row| row, by_head, self.gain),
            "wo" | "shared" => place(matrix, &mut wide, |row| row, |column| column, self.gain),
            _ => place(matrix, &mut wide, |row| row, |column| column, 1.0),
        }
        Ok(wide.into_dyn())
    }

    /// The factor of an RMS norm's scale: `1 / c`, and for the norm before the head the factor that is left after the
    /// head's factors.
    fn norm_scale(&self, name: &str) -> f64 {
        if name != names::final_norm(Stack::Decoder) {
            return 1.0 / self.gain;
        }
        let matrix = if self.wide.tie_word_embeddings { self.gain } else { 1.0 };
        self.narrow.config().head_scale() / (self.wide.head_scale() * matrix * self.gain)
    }

    /// Index of an element of the joined heads in heads of the wide `d_kv`.
    fn by_head(&self, index: usize) -> usize {
        let width = self.narrow.config().d_kv;
        index / width * self.wide.d_kv + index % width
    }

    /// The narrow model's drafter, which reads `[n, 0]`.
    pub(crate) fn drafter(&self) -> Option<Drafter> {
        let Drafter { weight, bias, transitions } = self.narrow.drafter()?;
        let narrow = weight.view().into_dimensionality::<Ix2>().ok()?;
        let mut wide = Padding::new(2).matrix([narrow.nrows(), self.wide.d_model]);
        place(narrow, &mut wide, |row| row, |column| column, 1.0);
        Some(Drafter { weight: wide.into_dyn(), bias: bias.clone(), transitions: transitions.clone() })
    }

    /// The wide model's adapters; blocks after the last one of the narrow model have adapters that add nothing, if the others have any.
    pub(crate) fn adapters(&self) -> TaskWeights<HostTensor> {
        let mut padding = Padding::new(1);
        let mut blocks = |stack| {
            let narrow = self.narrow.weights().blocks(stack);
            let live = |index| (narrow.get(index).or(narrow.first()), index < narrow.len());
            let block = |index| match live(index) {
                (Some(block), live) => self.block(block, live, &mut padding),
                (None, _) => BlockWeights::default(),
            };
            (0..self.wide.layers(stack)).map(block).collect()
        };
        TaskWeights { encoder: blocks(Stack::Encoder), decoder: blocks(Stack::Decoder), generator: None }
    }

    fn block(
        &self,
        block: &BlockWeights<HostTensor>,
        live: bool,
        padding: &mut Padding,
    ) -> BlockWeights<HostTensor> {
        let mut adapter = |of: &Option<Adapter<_>>| of.as_ref().map(|of| self.adapter(of, live, padding));
        BlockWeights {
            self_attention_adapter: adapter(&block.self_attention_adapter),
            feed_forward_adapter: adapter(&block.feed_forward_adapter),
            ..BlockWeights::default()
        }
    }

    /// An adapter that adds what `narrow` adds, or nothing if it is not `live`.
    ///
    /// Its input is `[c y, 0]`. If a LayerNorm follows, the input of the norm is copied to all `d' / d` groups of channels,
    /// so that mean and variance do not change; the norm's scale and shift set the copies to zero.
    fn adapter(
        &self,
        narrow: &Adapter<HostTensor>,
        live: bool,
        padding: &mut Padding,
    ) -> Adapter<HostTensor> {
        let (bottleneck, d, wide) = (narrow.down_bias.len(), self.narrow.config().d_model, self.wide.d_model);
        let copies = narrow.norm.is_some();
        // The update grows with the hidden state.
        let (inner, outer) = if copies { (1.0, self.gain) } else { (self.gain, 1.0) };
        let mut down_weight = padding.matrix([bottleneck, wide]);
        let mut up_weight = padding.matrix([wide, bottleneck]);
        let mut up_bias = Array1::zeros(wide);
        if live {
            for (at, x) in narrow.down_weight.indexed_iter() {
                down_weight[[at[0], at[1]]] = scaled(*x, 1.0 / self.gain);
            }
            for start in (0..if copies { wide } else { d }).step_by(d) {
                for (at, x) in narrow.up_weight.indexed_iter() {
                    up_weight[[start + at[0], at[1]]] = scaled(*x, inner);
                }
                for (row, x) in narrow.up_bias.iter().enumerate() {
                    up_bias[start + row] = scaled(*x, inner);
                }
            }
        }
        let outer = if live { outer } else { 0.0 };
        let norm = narrow.norm.as_ref().map(|norm| LayerNorm {
            gamma: padded_vector(&norm.gamma, wide, outer, 0.0),
            beta: padded_vector(&norm.beta, wide, outer, 0.0),
            eps: norm.eps,
        });
        Adapter {
            down_weight: down_weight.into_dyn(),
            down_bias: if live { narrow.down_bias.clone() } else { ArrayD::zeros(vec![bottleneck]) },
            up_weight: up_weight.into_dyn(),
            up_bias: up_bias.into_dyn(),
            activation: narrow.activation,
            placement: narrow.placement,
            norm,
        }
    }
}

/// Random numbers for padding.
struct Padding(ChaCha8Rng);

impl Padding {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn matrix(&mut self, shape: [usize; 2]) -> Array2<f32> {
        Array2::from_shape_simple_fn(shape, || self.0.random_range(-NOISE..NOISE))
    }
}

fn scaled(x: f32, factor: f64) -> f32 {
    (f64::from(x) * factor) as f32
}

/// `vector` times `factor`, then `rest` up to `width`.
fn padded_vector(vector: &HostTensor, width: usize, factor: f64, rest: f32) -> HostTensor {
    let scaled = vector.iter().map(|x| scaled(*x, factor));
    scaled.chain(std::iter::repeat(rest)).take(width).collect::<Array1<f32>>().into_dyn()
}

/// Writes the elements of `matrix` times `factor` to the rows and columns of `wide` that `row` and `column` return.
fn place(
    matrix: ArrayView2<'_, f32>,
    wide: &mut Array2<f32>,
    row: impl Fn(usize) -> usize,
    column: impl Fn(usize) -> usize,
    factor: f64,
) {
    for ((i, j), x) in matrix.indexed_iter() {
        wide[[row(i), column(j)]] = scaled(*x, factor);
    }
}
