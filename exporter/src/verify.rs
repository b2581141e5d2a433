//! The ladder of an export: un-folded model, folded model, the written file in every backend at hand, each compared
//! with the one before it.

use std::fmt;
use std::path::Path;

use hyperloader_core::format::tagger::{ATTENTION_MASK, DECODER_INPUT_IDS, INPUT_IDS};
use hyperloader_runtime::{Backend, BackendError, BackendKind, BackendOptions, Graph, Value};
use ndarray::{Array2, ArrayView1, s};
use serde::Serialize;

use crate::arithmetic::argmax;
use crate::export::Precision;
use crate::model::{ModelError, TaskModel};
use crate::probe::Probes;
use crate::reference::{Form, Reference, States};

/// Ids that greedy decoding makes for each probe, the start token included.
const GREEDY_LEN: usize = 16;

/// How an export is verified.
#[derive(Debug, Clone)]
pub struct Verification {
    /// Largest difference of two logits that is tolerated.
    pub tolerance: f64,
    /// Device, threads and library of the backends; `kind` does not count: all are run.
    pub backends: BackendOptions,
}

/// What two neighbours on the ladder must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// Logits within the ladder's tolerance, and what is chosen by them.
    Equal,
    /// Logits within the ladder's tolerance and this much more.
    Within(f64),
    /// Logits that are numbers: they are different models, and their difference is to be known.
    Finite,
}

/// Two neighbours on the ladder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    /// What is compared with.
    pub from: String,
    /// What is compared.
    pub to: String,
    /// Largest absolute difference of a logit, over taught targets and greedy ones; infinite if one is NaN.
    pub difference: f64,
    /// Probes whose greedy ids, or tags, are those of the un-folded model.
    pub equal_greedy: usize,
    /// What it takes to hold.
    pub demand: Demand,
}

/// A backend that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// Its name.
    pub backend: String,
    /// Why.
    pub reason: String,
}

/// What verification found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ladder {
    /// Comparisons, from the un-folded model down.
    pub rungs: Vec<Rung>,
    /// Backends that were not run.
    pub not_run: Vec<Absent>,
    /// Largest difference that was tolerated.
    pub tolerance: f64,
    /// Sentences that were run.
    pub probes: usize,
    /// What must be equal for each of them: `greedy ids` or `tags`.
    pub chosen: &'static str,
    file_was_run: bool,
}

impl Rung {
    fn holds(&self, tolerance: f64, probes: usize) -> bool {
        self.is_close(tolerance) && (self.demand != Demand::Equal || self.equal_greedy == probes)
    }

    /// Whether logits differ by no more than they may.
    pub(crate) fn is_close(&self, tolerance: f64) -> bool {
        match self.demand {
            Demand::Equal => self.difference <= tolerance,
            Demand::Within(more) => self.difference <= tolerance + more,
            Demand::Finite => self.difference.is_finite(),
        }
    }
}

impl Ladder {
    /// Whether every rung is as it must be.
    pub fn holds(&self) -> bool {
        self.rungs.iter().all(|rung| rung.holds(self.tolerance, self.probes))
    }

    /// Whether the written file was run at all.
    pub fn file_was_run(&self) -> bool {
        self.file_was_run
    }
}

impl fmt::Display for Ladder {
    /// One line a rung, one a backend that was not run.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = |rung: &Rung| format!("{} vs {}", rung.from, rung.to);
        let width = self.rungs.iter().map(|rung| title(rung).len()).max().unwrap_or(0);
        for rung in &self.rungs {
            let verdict = match rung.holds(self.tolerance, self.probes) {
                true if rung.demand == Demand::Finite => "the price of bytes",
                true => "ok",
                false => "FAILED",
            };
            writeln!(
                f,
                "{:width$}  logits differ by {:.1e}, {} equal in {} of {}: {verdict}",
                title(rung),
                rung.difference,
                self.chosen,
                rung.equal_greedy,
                self.probes,
            )?;
        }
        for Absent { backend, reason } in &self.not_run {
            writeln!(f, "{backend} was not run: {reason}")?;
        }
        write!(f, "tolerance {:.0e}", self.tolerance)
    }
}

/// What every implementation is asked, and how a file is asked it.
pub(crate) trait Exam: std::fmt::Debug {
    /// The answers of a file that a backend has opened.
    fn ask_file(&self, name: &str, graph: &mut dyn Graph) -> Result<Answers, BackendError>;

    /// Sentences that are run.
    fn probes(&self) -> usize;

    /// What is chosen by the logits of a sentence.
    fn chosen(&self) -> &'static str;
}

/// What the model computes un-folded and folded: what the written file is measured with.
#[derive(Debug)]
pub struct Oracle {
    exam: Box<dyn Exam>,
    /// Between the model's forms.
    rungs: Vec<Rung>,
    /// Of the form that is written.
    written: Answers,
    /// Of the written form and its file.
    demand: Demand,
}

/// What every implementation is asked.
#[derive(Debug)]
struct Questions {
    probes: Probes,
    /// Greedy ids of the un-folded model, `[batch, 2..=GREEDY_LEN]`.
    greedy: Array2<i64>,
    eos: i64,
}

/// What one implementation answers.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) name: String,
    /// `[positions, vocab]` after the probes' targets, then after the un-folded model's greedy ids; of a token classifier
    /// `[positions, tags]` alone.
    pub(crate) logits: Vec<Array2<f64>>,
    pub(crate) equal_greedy: usize,
}

impl Oracle {
    /// Runs `model` in all forms up to the one that is written.
    pub(crate) fn new(model: &TaskModel, probes: Probes, precision: Precision) -> Result<Self, ModelError> {
        let un_folded = Reference::new(model, Form::UnFolded);
        let encoded = un_folded.encode(&probes.input_ids, &probes.attention_mask)?;
        let greedy = un_folded.greedy(&encoded, &probes.attention_mask, GREEDY_LEN)?;
        let questions = Questions { probes, greedy, eos: model.config().eos_token_id };
        let ask = |form, name: &str| -> Result<Answers, ModelError> {
            let Probes { input_ids, attention_mask, .. } = &questions.probes;
            let reference = Reference::new(model, form);
            let encoded = reference.encode(input_ids, attention_mask)?;
            let logits = |ids: &Array2<i64>| reference.decode(&encoded, attention_mask, ids);
            questions.ask(name, |ids| logits(ids).map(States::into_rows))
        };
        let un_folded = ask(Form::UnFolded, "un-folded")?;
        let folded = ask(Form::Folded, "folded")?;
        let int8 = match precision {
            Precision::F32 => None,
            Precision::Int8 => Some(ask(Form::Int8, "int8")?),
        };
        let oracle = Self::of(Box::new(questions), &un_folded, folded);
        Ok(match int8 {
            None => oracle,
            Some(int8) => oracle.in_bytes(int8),
        })
    }

    /// From the answers of the forms un-folded and folded.
    pub(crate) fn of(exam: Box<dyn Exam>, un_folded: &Answers, folded: Answers) -> Self {
        let rungs = vec![rung(un_folded, &folded, Demand::Equal)];
        Self { exam, rungs, written: folded, demand: Demand::Equal }
    }

    /// For a file in bytes. Where two implementations differ in the last digit they may round an element to different
    /// bytes, and what is behind it changes as much as it does by rounding at all: twice that is the bound.
    fn in_bytes(mut self, int8: Answers) -> Self {
        let price = rung(&self.written, &int8, Demand::Finite);
        let demand = Demand::Within(2.0 * price.difference);
        self.rungs.push(price);
        Self { written: int8, demand, ..self }
    }

    /// Runs the file at `path` in every backend that `options` allow, one at a time, and compares neighbours.
    pub(crate) fn compare(
        self,
        path: &Path,
        options: &Verification,
        stage: &dyn Fn(&str),
    ) -> Result<Ladder, BackendError> {
        let Self { exam, mut rungs, written: mut above, demand } = self;
        let forms = rungs.len();
        let mut not_run = Vec::new();
        for kind in [BackendKind::Ort, BackendKind::Tract] {
            match Backend::load(&BackendOptions { kind, ..options.backends.clone() }) {
                Ok(backend) => {
                    stage(&format!("running the file in {}", backend.description()));
                    let mut graph = backend.open_file(path)?;
                    let answers = exam.ask_file(&backend.description(), graph.as_mut())?;
                    rungs.push(rung(&above, &answers, demand));
                    // Logits of one neighbour only are kept: they are large.
                    above = answers;
                }
                Err(why) => not_run.push(Absent { backend: kind.to_string(), reason: why.to_string() }),
            }
        }
        let (probes, chosen) = (exam.probes(), exam.chosen());
        let file_was_run = rungs.len() > forms;
        Ok(Ladder { rungs, not_run, tolerance: options.tolerance, probes, chosen, file_was_run })
    }
}

impl Exam for Questions {
    fn ask_file(&self, name: &str, graph: &mut dyn Graph) -> Result<Answers, BackendError> {
        self.ask(name, |ids| run(graph, &self.probes, ids))
    }

    fn probes(&self) -> usize {
        self.probes.input_ids.nrows()
    }

    fn chosen(&self) -> &'static str {
        "greedy ids"
    }
}

impl Questions {
    /// `logits` gives `[positions, vocab]` after `decoder_input_ids`, sentence by sentence.
    fn ask<E>(
        &self,
        name: &str,
        mut logits: impl FnMut(&Array2<i64>) -> Result<Array2<f64>, E>,
    ) -> Result<Answers, E> {
        let shown = self.greedy.slice(s![.., ..-1]).to_owned();
        let logits = vec![logits(&self.probes.decoder_input_ids)?, logits(&shown)?];
        let chosen: Vec<i64> = logits[1].outer_iter().map(|logits| argmax(&logits) as i64).collect();
        let rows = chosen.chunks(shown.ncols().max(1)).zip(self.greedy.outer_iter());
        let equal_greedy = rows.filter(|(chosen, greedy)| self.follows(chosen, greedy)).count();
        Ok(Answers { name: name.to_owned(), logits, equal_greedy })
    }

    /// Whether an implementation decodes to `greedy`: exactly if its choice after each prefix of `greedy` is the next
    /// id, up to `</s>`. So one pass tells.
    fn follows(&self, chosen: &[i64], greedy: &ArrayView1<'_, i64>) -> bool {
        for (chosen, next) in chosen.iter().zip(greedy.iter().skip(1)) {
            if chosen != next {
                return false;
            }
            if *next == self.eos {
                break;
            }
        }
        true
    }
}

fn rung(from: &Answers, to: &Answers, demand: Demand) -> Rung {
    let pairs = from.logits.iter().zip(&to.logits);
    let difference = pairs.map(|(from, to)| largest_difference(from, to)).fold(0.0, f64::max);
    Rung { from: from.name.clone(), to: to.name.clone(), difference, equal_greedy: to.equal_greedy, demand }
}

fn largest_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    if a.dim() != b.dim() {
        return f64::INFINITY;
    }
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |most, d| if d.is_nan() { f64::INFINITY } else { most.max(d) })
}

/// Logits of the written file, `[batch * target_len, vocab]`.
fn run(
    graph: &mut dyn Graph,
    probes: &Probes,
    decoder_input_ids: &Array2<i64>,
) -> Result<Array2<f64>, BackendError> {
    let inputs = [
        (INPUT_IDS, &probes.input_ids),
        (ATTENTION_MASK, &probes.attention_mask),
        (DECODER_INPUT_IDS, decoder_input_ids),
    ];
    run_file(graph, &inputs, decoder_input_ids.len())
}

/// The one output of a file, `[positions, width]`.
pub(crate) fn run_file(
    graph: &mut dyn Graph,
    inputs: &[(&str, &Array2<i64>)],
    positions: usize,
) -> Result<Array2<f64>, BackendError> {
    let value = |ids: &Array2<i64>| Value::from_i64s(ids.shape(), ids.iter().copied().collect());
    let values = inputs.iter().map(|(name, ids)| Ok((*name, value(ids)?)));
    let values = values.collect::<Result<Vec<_>, BackendError>>()?;
    let named: Vec<(&str, &Value)> = values.iter().map(|(name, value)| (*name, value)).collect();
    let outputs = graph.run(&named)?;
    let Some(logits) = outputs.first() else { return Ok(Array2::zeros((0, 0))) };
    let width = logits.shape().last().copied().unwrap_or(0);
    let elements: Vec<f64> = logits.f32s()?.iter().map(|x| f64::from(*x)).collect();
    Ok(Array2::from_shape_vec((positions, width), elements).unwrap_or_default())
}
