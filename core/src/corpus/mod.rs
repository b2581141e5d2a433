//! Labelled sentences from files in the layouts in which slot-filling and NER corpora, and annotation tools, distribute them.
//!
//! [`Records`] yields the records of a file one at a time, for training as for tagging. [`CorpusSpec`] says where the splits of a corpus
//! lie and how to read them; [`CorpusSpec::read`] reads them for training: it stops at the first bad record with an error that names
//! file, line and fault, and reports everything that it did not read as it stands in the file.
//!
//! | subject | modules |
//! |---|---|
//! | bytes to lines and values | `source` |
//! | layouts | `conll` (and `bio-columns`), `json` (with `array`) and `parquet` with `row`, `row_spans`, `numbers` and `label_studio`, `table`, `plain`, `seq_in_out`, `mtop`, `mtod`, `facebook` |
//! | one record, all layouts | `record`, `reader`, `records`, `layout`, `options`, `units` |
//! | records to sentences | `align`, `convert`, `survey`, `word_rule`, `transform`, `load`, `shards` with `pattern`, `sentence`, `report`; `exact`: predictions compared with the file's spans |
//! | whole corpora | `spec`, `draw`, [`known`], [`stats`] |

mod align;
mod array;
mod conll;
mod convert;
mod draw;
mod error;
mod exact;
mod facebook;
mod json;
pub mod known;
mod label_studio;
mod layout;
mod load;
mod mtod;
mod mtop;
mod numbers;
mod options;
mod parquet;
mod pattern;
mod plain;
mod reader;
mod record;
mod records;
mod report;
mod row;
mod row_spans;
mod sentence;
mod seq_in_out;
mod shards;
mod source;
mod spec;
pub mod stats;
mod survey;
mod table;
mod transform;
mod units;
mod word_rule;

pub use self::align::SpanCounts;
pub use self::draw::{shuffled, subset, subset_size};
pub use self::error::{CorpusError, Fault, LineFault};
pub use self::exact::{MarkedText, Predicted, exact_scores};
pub use self::layout::Layout;
pub use self::options::{Columns, Fields, OffsetUnit, Overlap, ReadOptions, Role, SpanAlignment};
pub use self::pattern::PatternError;
pub use self::reader::Notes;
pub use self::record::{CharSpan, Gold, LeftOut, Record};
pub use self::records::{Records, layout_of};
pub use self::report::{ReadReport, TagReport};
pub use self::sentence::{Sentence, label_set};
pub use self::shards::{Sentences, Shards};
pub use self::source::{decompressed, open};
pub use self::spec::{Corpus, CorpusSpec, FileReport, Others, Split, Splits, TrainParts};
pub use self::transform::{LabelCase, LabelPreset, LabelTransform, Labels};
pub use self::units::Offsets;

#[cfg(test)]
mod tests;
