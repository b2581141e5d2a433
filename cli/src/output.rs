//! Stdout with closed pipes and full disks, and JSON on one line.

use std::io::{self, BufWriter, ErrorKind, Write};

use anstream::adapter::strip_bytes;
use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use serde::Serialize;

/// Stdout, buffered. Once its reader has closed the pipe, all further data is dropped without an error, as `head` and
/// `less` expect. Any other error is returned once.
#[derive(Debug)]
pub(crate) struct Stdout<W: Write> {
    writer: BufWriter<W>,
    color: bool,
    closed: bool,
    failed: bool,
}

impl Stdout<io::Stdout> {
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let color = AutoStream::choice(&stdout) != ColorChoice::Never;
        Self { writer: BufWriter::new(stdout), color, closed: false, failed: false }
    }
}

impl<W: Write> Stdout<W> {
    /// Writes data as it is.
    pub(crate) fn raw(&mut self, data: &[u8]) -> Result<()> {
        let written = self.writer.write_all(data);
        self.check(written)
    }

    /// Writes text whose escape sequences are removed where there are no colors.
    pub(crate) fn styled(&mut self, text: &str) -> Result<()> {
        match self.color {
            true => self.raw(text.as_bytes()),
            false => strip_bytes(text.as_bytes()).try_for_each(|part| self.raw(part)),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let flushed = self.writer.flush();
        self.check(flushed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    fn check(&mut self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            // The buffer keeps what could not be written: later calls fail with the same error.
            Err(_) if self.closed || self.failed => Ok(()),
            result => {
                self.failed = result.is_err();
                result.context("cannot write to stdout")
            }
        }
    }
}

/// Compact JSON on one line.
pub(crate) fn json(record: &impl Serialize) -> Result<String> {
    serde_json::to_string(record).context("cannot write the result as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with one kind of error once `room` bytes are written.
    struct Failing {
        room: usize,
        kind: ErrorKind,
    }

    impl Write for Failing {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(self.kind.into());
            }
            let written = data.len().min(self.room);
            self.room -= written;
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stdout(room: usize, kind: ErrorKind) -> Stdout<Failing> {
        Stdout { writer: BufWriter::new(Failing { room, kind }), color: false, closed: false, failed: false }
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_further_data_is_dropped() {
        let mut out = stdout(10, ErrorKind::BrokenPipe);
        out.raw(&[b'a'; 20]).unwrap();
        assert!(!out.is_closed());
        out.flush().unwrap();
        assert!(out.is_closed());
        out.raw(&[b'a'; 100_000]).unwrap();
        out.flush().unwrap();
    }

    #[test]
    fn a_full_disk_is_an_error_that_is_returned_once() {
        let mut out = stdout(10, ErrorKind::StorageFull);
        out.raw(&[b'a'; 20]).unwrap();
        assert_eq!(out.flush().unwrap_err().to_string(), "cannot write to stdout");
        out.raw(&[b'a'; 100_000]).unwrap();
        out.flush().unwrap();
        assert!(!out.is_closed());
    }

    #[test]
    fn text_loses_its_colors_and_data_stays_as_it_is() {
        for (color, text) in [(false, "red"), (true, "\u{1b}[31mred\u{1b}[0m")] {
            let mut out = Stdout { writer: BufWriter::new(Vec::new()), color, closed: false, failed: false };
            out.styled("\u{1b}[31mred\u{1b}[0m").unwrap();
            out.raw(b"\x1b[31m").unwrap();
            let bytes = out.writer.into_inner().unwrap();
            assert_eq!(String::from_utf8(bytes).unwrap(), format!("{text}\u{1b}[31m"));
        }
    }
}
