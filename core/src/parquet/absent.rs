//! Parquet in a program that is built without it: opening a file and beginning one are errors.

use std::convert::Infallible;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::Path;

use serde_json::Value;

use super::tagged::TaggedRow;
use crate::files::FileError;

const NOT_BUILT: &str = "the program was built without Parquet\nhint: build it with `--features parquet`";

/// The rows of a file, of which there are none without the feature `parquet`.
#[derive(Debug)]
pub struct Rows(Infallible);

impl Rows {
    /// Opens a file.
    ///
    /// # Errors
    /// Always: the program is built without Parquet.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Err(FileError::new("read", path, io::Error::other(NOT_BUILT)))
    }

    /// The names that the file gives the numbers in `column`.
    pub fn class_names(&self, _: &str) -> Option<Vec<String>> {
        match self.0 {}
    }
}

impl Iterator for Rows {
    type Item = io::Result<Value>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0 {}
    }
}

/// The writer of a file, of which there is none without the feature `parquet`.
#[derive(Debug)]
pub struct TableWriter<W: Write + Send>(Infallible, PhantomData<W>);

impl<W: Write + Send> TableWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Always: the program is built without Parquet.
    pub fn new(_: W, _: &str) -> io::Result<Self> {
        Err(io::Error::other(NOT_BUILT))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Never.
    pub fn add(&mut self, _: TaggedRow) -> io::Result<()> {
        match self.0 {}
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Never.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {}
    }
}
