//! What writes records in one format.

use anyhow::Result;

use crate::entry::Entry;

/// Writes records in one format.
pub(crate) trait Writer {
    /// The beginning of the file.
    fn begin(&self) -> String {
        String::new()
    }

    /// A record.
    ///
    /// # Errors
    /// If the record cannot be written in this format.
    fn record(&mut self, entry: &Entry) -> Result<String>;

    /// The end of the file.
    fn end(&self) -> String {
        String::new()
    }
}
