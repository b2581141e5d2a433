//! What an exported token classifier is asked, and how a task's model is written.

use hyperloader_core::format::tagger::{ATTENTION_MASK, INPUT_IDS, TaggerKind};
use hyperloader_core::run::{Manifest, Task};
use hyperloader_core::text::wordpiece::{WordPiece, WordPieceError};
use hyperloader_onnx::{BuiltModel, Bytes, Opset, Weight};
use hyperloader_runtime::{BackendError, Graph};
use ndarray::Array2;

use super::model::{BertModel, LayerPrefix};
use super::reference::BertReference;
use crate::arithmetic::argmax;
use crate::export::{ExportError, Exportable, Interface};
use crate::graph::GraphError;
use crate::model::ModelError;
use crate::probe::{SENTENCES, padded};
use crate::verify::{Answers, Exam, Oracle, run_file};

/// Short sentences, and the tags that the un-folded model gives them.
#[derive(Debug)]
struct Questions {
    /// `[batch, source_len]`.
    input_ids: Array2<i64>,
    /// `[batch, source_len]`.
    attention_mask: Array2<i64>,
    /// Tags by number, `[batch, source_len]`.
    tags: Array2<usize>,
}

impl Questions {
    fn new(codec: &WordPiece, task: &Task, max_source_len: usize) -> Result<Self, WordPieceError> {
        let mut sources: Vec<Vec<i64>> = Vec::new();
        for sentence in SENTENCES {
            let words: Vec<String> = task.words.split(sentence).into_iter().map(|word| word.text).collect();
            let mut ids = codec.encode(&words)?.ids;
            codec.truncate(&mut ids, max_source_len);
            sources.push(ids.into_iter().map(i64::from).collect());
        }
        let masks: Vec<Vec<i64>> = sources.iter().map(|ids| vec![1; ids.len()]).collect();
        let input_ids = padded(&sources, codec.pad().into());
        let tags = Array2::zeros(input_ids.dim());
        Ok(Self { input_ids, attention_mask: padded(&masks, 0), tags })
    }

    fn chosen_tags(&self, logits: &Array2<f64>) -> Array2<usize> {
        let tags = logits.outer_iter().map(|logits| argmax(&logits)).collect();
        Array2::from_shape_vec(self.input_ids.dim(), tags).unwrap_or_default()
    }

    /// Only tokens count: padding is not tagged.
    fn answers(&self, name: &str, logits: Array2<f64>) -> Answers {
        let tags = self.chosen_tags(&logits);
        let same = |row: &usize| {
            let positions =
                tags.row(*row).into_iter().zip(self.tags.row(*row)).zip(self.attention_mask.row(*row));
            positions.into_iter().all(|((tag, wanted), mask)| tag == wanted || *mask == 0)
        };
        let equal_greedy = (0..tags.nrows()).filter(same).count();
        Answers { name: name.to_owned(), logits: vec![logits], equal_greedy }
    }
}

impl Exam for Questions {
    fn ask_file(&self, name: &str, graph: &mut dyn Graph) -> Result<Answers, BackendError> {
        let inputs = [(INPUT_IDS, &self.input_ids), (ATTENTION_MASK, &self.attention_mask)];
        Ok(self.answers(name, run_file(graph, &inputs, self.input_ids.len())?))
    }

    fn probes(&self) -> usize {
        self.input_ids.nrows()
    }

    fn chosen(&self) -> &'static str {
        "tags"
    }
}

impl Exportable for BertModel {
    fn graph(&self, opset: Opset) -> Result<BuiltModel, GraphError> {
        self.graph(opset)
    }

    fn elements(&self, weight: &Weight) -> Result<Bytes, ModelError> {
        self.elements(weight)
    }

    /// Folded is what a file holds: the prefix, made and rounded.
    fn oracle(&self, manifest: &Manifest, task: &Task) -> Result<Oracle, ExportError> {
        let mut questions = Questions::new(&self.codec()?, task, manifest.max_source_len)?;
        let logits = |prefixes, questions: &Questions| {
            BertReference::new(self, prefixes).logits(&questions.input_ids, &questions.attention_mask)
        };
        let made = self.prefixes()?;
        let rounded = made.iter().map(LayerPrefix::rounded).collect();
        let un_folded = logits(made, &questions)?;
        questions.tags = questions.chosen_tags(&un_folded);
        let un_folded = questions.answers("un-folded", un_folded);
        let folded = questions.answers("folded", logits(rounded, &questions)?);
        Ok(Oracle::of(Box::new(questions), &un_folded, folded))
    }

    fn interface(&self, _: &Manifest) -> Result<Interface, ExportError> {
        let codec = self.codec()?;
        Ok(Interface {
            kind: TaggerKind::TokenClassifier,
            max_target_len: 0,
            pad: codec.pad().into(),
            eos: codec.sep().into(),
            start: codec.pad().into(),
            decoder_layers: 0,
            memory: Vec::new(),
            drafter: None,
            tokenizer: codec.text().to_owned(),
        })
    }
}
