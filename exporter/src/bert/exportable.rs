//! A token classifier as a file: its graph, the reference model's answers, and the metadata that depends on it.

use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS, TaggerKind};
use hyperloader_core::run::{Manifest, Task};
use hyperloader_onnx::Opset;
use ndarray::Array2;

use super::graph::bert_graph;
use super::model::BertModel;
use super::reference::BertReference;
use crate::error::{GraphError, ModelError};
use crate::exportable::{Exportable, Interface};
use crate::fold::Form;
use crate::precision::Precision;
use crate::precision::matrices::StoredMatrices;
use crate::verify::answers::{Answers, Choices, ReferenceRun};
use crate::verify::sentences::{batch, sentences};
use crate::weights::{Loras, TaskGraph};

/// Matrices that a precision may be too coarse for.
const GROUPS: [&str; 4] = [
    "bert.embeddings.*",
    "bert.encoder.layer.*.attention.*",
    "bert.encoder.layer.*.intermediate.*",
    "bert.encoder.layer.*[0-9].output.*",
];

impl Exportable for BertModel {
    /// The LoRA pairs of `unipelt-bert` have gates that depend on the input: they are always separate.
    fn graph(&self, opset: Opset, loras: Loras) -> Result<TaskGraph<'_>, GraphError> {
        bert_graph(self.parts(loras), opset)
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
        let (input_ids, attention_mask) = self.inputs(manifest, task)?;
        let answers = |name: &str, reference: BertReference<'_>| -> Result<Answers, ModelError> {
            let logits = reference.logits(&input_ids, &attention_mask)?;
            Ok(Answers { name: name.to_owned(), logits: vec![logits] })
        };
        let un_folded = answers("un-folded", BertReference::new(self, Form::UnFolded)?)?;
        let folded = answers("folded", BertReference::new(self, Form::Folded)?)?;
        let lower = match stored.precision() {
            Precision::F32 => None,
            precision => {
                let reference = BertReference::in_precision(self, stored)?;
                Some((precision, answers(precision.name(), reference)?))
            }
        };
        // Only tokens have tags; padding has none.
        let width = attention_mask.ncols();
        let rows = attention_mask.outer_iter().enumerate().map(|(sentence, mask)| {
            let tokens = mask.iter().enumerate().filter(|(_, mask)| **mask == 1);
            tokens.map(|(at, _)| sentence * width + at).collect()
        });
        Ok(ReferenceRun {
            choices: Choices { what: "tags", pass: 0, rows: rows.collect() },
            passes: vec![vec![
                (INPUT_IDS, input_ids.clone().into_dyn()),
                (ATTENTION_MASK, attention_mask.clone().into_dyn()),
            ]],
            un_folded,
            folded,
            lower,
        })
    }

    /// A task needs no prefix: it has a classifier of its own.
    fn interface(&self, _: &Manifest, _: &Task) -> Result<Interface, ModelError> {
        let codec = self.codec()?;
        Ok(Interface {
            kind: TaggerKind::TokenClassifier,
            max_target_len: 0,
            pad: codec.pad().into(),
            eos: codec.sep().into(),
            start: codec.pad().into(),
            decoder_layers: 0,
            source_prefix: String::new(),
            memory: Vec::new(),
            drafter: None,
            tokenizer: codec.text().to_owned(),
        })
    }
}

impl BertModel {
    /// The ids of the verification's sentences and their attention mask, both `[batch, source_len]`.
    fn inputs(&self, manifest: &Manifest, task: &Task) -> Result<(Array2<i64>, Array2<i64>), ModelError> {
        let codec = self.codec()?;
        let mut sources = Vec::new();
        for words in sentences(task) {
            let mut ids = codec.encode(&words)?.ids;
            codec.truncate(&mut ids, manifest.max_source_len);
            sources.push(ids.into_iter().map(i64::from).collect());
        }
        Ok(batch(sources, codec.pad().into()))
    }
}
