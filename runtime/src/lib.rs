//! hyperloader-runtime: runs an exported tagger, one ONNX file, in ONNX Runtime or tract.
//!
//! ```no_run
//! use hyperloader_runtime::{Tagger, TaggerOptions};
//!
//! let tagger = Tagger::open("mtop.onnx", &TaggerOptions::default())?;
//! for tagged in tagger.tag(&["set an alarm for 7 am"])? {
//!     for span in tagged?.spans {
//!         println!("{}..{} {} `{}`", span.start, span.end, span.label, span.text);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules are private; all public types are here. A sentence passes through them in this order:
//!
//! - [`Tagger`] (`tagger`): the interface, with `options` (and their `names`), `error` and `statistics`
//! - `input`: sentences as text or words; `document`: long ones in parts
//! - `model`: the traits of a kind of tagger; `architecture`: their implementations for T5 and BERT
//! - `pool`: batches and workers; `parts`: texts for a scheduler that makes its own batches
//! - `decode`: target ids from source ids, for T5
//! - `scores`: scores of tags, spans and sentences
//! - `output`: [`Tagged`] sentences with spans, and `answer`: them as JSON
//! - `proof`: checks a file against the proof that it carries
//! - `withholding`: which tags are withheld for a guarantee
//! - `evaluate`: the [`Evaluation`] of a tagger on labeled sentences, and the [`Comparison`] of two
//!
//! Below them:
//!
//! - [`ModelFile`] (`model_file`): opens and checks a file; `multi`: one task of a file with several
//! - `split`: splits the graph into an encoder and a decoder; [`Halves`] (`halves`): both for other programs
//! - [`Backend`] (`backend`): one interface to ONNX Runtime (loaded when the program runs) and tract (compiled in)
//!
//! Features: `ort` and `tract` are the backends, `cli` is the program `hl-run`. The library needs none of them to compile.

mod answer;
mod architecture;
mod backend;
mod decode;
mod document;
mod error;
mod evaluate;
mod halves;
mod input;
mod model;
mod model_file;
mod multi;
mod names;
mod options;
mod output;
mod parts;
mod pool;
mod proof;
mod scores;
mod split;
mod statistics;
mod tagger;
mod withholding;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

pub use hyperloader_core::calibration::selection::{Guarantee, Threshold, Unit};
pub use hyperloader_core::corpus::OffsetUnit;
pub use hyperloader_core::device::Device;
pub use hyperloader_core::format::tagger::{MetadataError, TaggerKind, TaggerMetadata};
pub use hyperloader_core::text::source::CodingError;
pub use hyperloader_core::text::target::Alignment;
pub use hyperloader_core::text::words::{Word, WordRule, WordSplitting};
pub use hyperloader_onnx::proto::ModelProto;
pub use hyperloader_onnx::{Bytes, ReadError, WeightFile};

pub use answer::{Answer, Fault};
pub use backend::{Backend, BackendError, BackendKind, BackendOptions, Graph, Installed, Value, Versions};
pub use error::{GraphError, GuaranteeFault, ModelFileError, OpenError, SentenceError, TagError};
pub use evaluate::{Comparison, Difference, Evaluation, EvaluationError, Untagged};
pub use halves::Halves;
pub use model_file::ModelFile;
pub use names::UnknownName;
pub use options::{DraftFrom, Mode, Split, TaggerOptions, Words};
pub use output::{Tagged, TaggedSpan};
pub use parts::{BatchOutput, PartOutput, PreparedText, TextPart};
pub use proof::{Check, NotRun, ProofError, ProofReport};
pub use scores::{SentenceScores, TagScore};
pub use statistics::Statistics;
pub use tagger::Tagger;

/// The environment variable that disables ONNX Runtime's telemetry, and its value.
///
/// Microsoft's builds of ONNX Runtime 1.29 and newer for Linux and macOS collect usage data unless the variable is set before the
/// first tagger is opened. The programs and the Python package set it. A program that uses this crate sets it itself, before it
/// starts threads; see <https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md>. tract collects nothing.
pub const ORT_TELEMETRY_OFF: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");
