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
//! - [`tagger`]: sentences in, labelled spans out
//! - [`model_file`]: opens a file and checks all that it says about itself
//! - [`split`]: cuts the one graph into an encoder, run once a batch, and a decoder, run several times
//! - [`backend`]: one interface to ONNX Runtime (loaded when the program runs) and tract (compiled in)
//! - [`decode`]: target ids from source ids
//! - [`classifier`]: tags of source ids, for files that write no target
//! - [`coding`]: words to ids and back to tags, for both kinds of files
//! - `names`: the names of options' variants
//! - [`output`]: tagged sentences as text for people and as JSON lines

pub mod backend;
pub mod classifier;
pub mod coding;
pub mod decode;
pub mod model_file;
mod names;
pub mod output;
pub mod split;
pub mod tagger;

pub use backend::{Backend, BackendError, BackendKind, BackendOptions, Device, Graph, Value};
pub use decode::{DraftFrom, Mode, Statistics};
pub use hyperloader_core::text::target::Alignment;
pub use model_file::{ModelFile, ModelFileError};
pub use names::UnknownName;
pub use tagger::{Input, OpenError, SentenceError, Tagged, TaggedSpan, Tagger, TaggerOptions};
