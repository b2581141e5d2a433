//! A T5 as a file: its graph, the reference model's answers, and the metadata that depends on it.

use hyperloader_core::backbone::t5::Stack;
use hyperloader_core::backbone::tokenizer_of;
use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS, TaggerKind, generated_adapter,
};
use hyperloader_core::run::{Manifest, Task};
use hyperloader_core::text::sentt::{SentT, tokenizer_json};
use hyperloader_onnx::Opset;
use ndarray::{Array2, Axis, s};

use super::graph::{T5Parts, t5_graph};
use super::model::T5Model;
use super::reference::{Reference, States};
use crate::error::{GraphError, ModelError};
use crate::exportable::{Exportable, Interface};
use crate::fold::Form;
use crate::precision::Precision;
use crate::precision::matrices::StoredMatrices;
use crate::verify::answers::{Answers, Choices, ReferenceRun};
use crate::verify::sentences::{batch, sentences};
use crate::weights::{Loras, TaskGraph};

/// Number of ids that greedy decoding generates for each sentence, with the start token.
const GREEDY_LEN: usize = 16;

const GROUPS: [&str; 7] = [
    "shared.*",
    "lm_head.*",
    "encoder.*Attention*",
    "encoder.*DenseReluDense*",
    "decoder.*SelfAttention*",
    "decoder.*EncDecAttention*",
    "decoder.*DenseReluDense*",
];

impl Exportable for T5Model {
    fn graph(&self, opset: Opset, loras: Loras) -> Result<TaskGraph<'_>, GraphError> {
        let (config, task, drafter) = (self.config(), self.weights(), self.drafter());
        t5_graph(T5Parts { config, task, loras, drafter, tensors: self.tensors() }, opset)
    }

    fn groups(&self) -> &'static [&'static str] {
        &GROUPS
    }

    fn reference_run(
        &self,
        manifest: &Manifest,
        task: &Task,
        stored: &StoredMatrices,
    ) -> Result<ReferenceRun, ModelError> {
        let inputs = Inputs::new(self, manifest, task)?;
        let Inputs { input_ids, attention_mask, decoder_input_ids } = &inputs;
        // The un-folded and the folded model are computed side by side, so that the matrices that they share are read once.
        let both = Reference::both(self);
        let mask = twice(attention_mask);
        let encoded = both.encode(&twice(input_ids), &mask)?;
        let [un_folded, folded] = both.decode(&encoded, &mask, &twice(decoder_input_ids))?.halves();
        let [as_trained, as_in_a_file] = encoded.halves();
        // The logits after each prefix of the greedy ids show whether an implementation generates the same ids.
        let greedy = Reference::new(self, Form::UnFolded).greedy_with_logits(
            &as_trained,
            attention_mask,
            GREEDY_LEN,
        )?;
        let prefixes = greedy.ids.slice(s![.., ..-1]).to_owned();
        let answers = |name: &str, logits: [States; 2]| Answers {
            name: name.to_owned(),
            logits: logits.map(States::into_rows).into(),
        };
        let of_prefixes =
            Reference::new(self, Form::Folded).decode(&as_in_a_file, attention_mask, &prefixes)?;
        let folded = answers("folded", [folded, of_prefixes]);
        let un_folded =
            Answers { name: "un-folded".to_owned(), logits: vec![un_folded.into_rows(), greedy.logits] };
        let lower = match stored.precision() {
            Precision::F32 => None,
            precision => {
                let reference = Reference::in_precision(self, stored);
                let encoded = reference.encode(input_ids, attention_mask)?;
                let decode = |ids| reference.decode(&encoded, attention_mask, ids);
                Some((precision, answers(precision.name(), [decode(decoder_input_ids)?, decode(&prefixes)?])))
            }
        };
        self.config().tensors().keys().for_each(|name| self.tensors().release(name));
        let rows = compared_rows(&greedy.ids, self.config().eos_token_id);
        let pass = |decoder_input_ids: Array2<i64>| {
            vec![
                (INPUT_IDS, input_ids.clone().into_dyn()),
                (ATTENTION_MASK, attention_mask.clone().into_dyn()),
                (DECODER_INPUT_IDS, decoder_input_ids.into_dyn()),
            ]
        };
        Ok(ReferenceRun {
            passes: vec![pass(decoder_input_ids.clone()), pass(prefixes)],
            un_folded,
            folded,
            lower,
            choices: Choices { what: "greedy ids", pass: 1, rows },
        })
    }

    fn interface(&self, manifest: &Manifest, task: &Task) -> Result<Interface, ModelError> {
        let config = self.config();
        let decoder_layers = config.layers(Stack::Decoder);
        Ok(Interface {
            kind: TaggerKind::EncoderDecoder,
            max_target_len: manifest.max_target_len,
            pad: config.pad_token_id,
            eos: config.eos_token_id,
            start: config.decoder_start_token_id,
            decoder_layers,
            source_prefix: manifest.method.source_prefix(&task.name).to_owned(),
            memory: match &self.weights().generator {
                Some(_) => (0..decoder_layers).flat_map(generated_adapter).collect(),
                None => Vec::new(),
            },
            drafter: self.drafter().map(|drafter| drafter.transitions.clone()),
            tokenizer: tokenizer_json(&tokenizer_of(self.folder()))?,
        })
    }
}

/// `rows`, and the same once more after them.
fn twice(rows: &Array2<i64>) -> Array2<i64> {
    ndarray::concatenate![Axis(0), *rows, *rows]
}

/// The row of logits after each prefix of each row of `greedy` `[batch, length]`, up to the one that chooses `eos`.
fn compared_rows(greedy: &Array2<i64>, eos: i64) -> Vec<Vec<usize>> {
    let width = greedy.ncols().saturating_sub(1);
    let rows = greedy.outer_iter().enumerate().map(|(sentence, ids)| {
        let end = ids.iter().skip(1).position(|id| *id == eos).map_or(width, |at| at + 1);
        (0..end).map(|at| sentence * width + at).collect()
    });
    rows.collect()
}

/// Padded batches of ids that a file is run on.
struct Inputs {
    /// Sources, `[batch, source_len]`.
    input_ids: Array2<i64>,
    /// 1 for an id, 0 for padding, `[batch, source_len]`.
    attention_mask: Array2<i64>,
    /// Targets after the start token, `[batch, target_len]`: the task's labels in turn, with `O` and `I` between them.
    decoder_input_ids: Array2<i64>,
}

impl Inputs {
    /// The ids of the verification's sentences, truncated to the run's lengths as in training.
    fn new(model: &T5Model, manifest: &Manifest, task: &Task) -> Result<Self, ModelError> {
        let config = model.config();
        let codec = SentT::from_file(tokenizer_of(model.folder()))?;
        let prefix = codec.encode_text(manifest.method.source_prefix(&task.name))?;
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for (number, words) in sentences(task).iter().enumerate() {
            let tags: Vec<&str> = (0..words.len()).map(|at| tag(&task.labels, number, at)).collect();
            let mut source = codec.encode_prefixed(&prefix, words)?;
            codec.truncate(&mut source, manifest.max_source_len);
            let mut target = codec.encode_target(&tags)?;
            codec.truncate(&mut target, manifest.max_target_len);
            sources.push(source.into_iter().map(i64::from).collect());
            let start = std::iter::once(config.decoder_start_token_id);
            targets.push(start.chain(target.into_iter().map(i64::from)).collect());
        }
        let (input_ids, attention_mask) = batch(sources, config.pad_token_id);
        let (decoder_input_ids, _) = batch(targets, config.pad_token_id);
        Ok(Self { input_ids, attention_mask, decoder_input_ids })
    }
}

/// `O`, a label, `I`, `O`, the next label, ...
fn tag(labels: &[String], sentence: usize, word: usize) -> &str {
    match word % 3 {
        0 => "O",
        1 => labels.get((sentence + word / 3) % labels.len().max(1)).map_or("O", String::as_str),
        _ => "I",
    }
}
