//! What all readers have in common.

use super::error::LineFault;
use super::record::Record;

/// What a reader passed over so far, besides records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notes {
    /// Comment lines.
    pub comments: usize,
    /// `-DOCSTART-` lines.
    pub document_starts: usize,
    /// Whether the first column counts the words and was skipped.
    pub index_column: bool,
}

/// A reader of one layout.
pub(super) trait Reader: Send {
    /// The next record, or what is wrong with it. Reading goes on after an error, unless the source itself failed.
    fn next(&mut self) -> Option<Result<Record, LineFault>>;

    /// What was passed over so far.
    fn notes(&self) -> Notes {
        Notes::default()
    }
}
