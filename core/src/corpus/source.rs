//! Bytes to lines: decompression by extension, byte order marks, line ends, UTF-8, and a limit that bounds memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::array::Place;
use super::error::{Fault, LineFault};
use crate::files::FileError;

/// Longest line, or JSON value that spans lines, in bytes.
pub(super) const MAX_LINE: usize = 64 << 20;

/// Longest rest of such a line that is skipped, in bytes: a device such as `/dev/zero` has no line end.
const MAX_SKIP: u64 = 4 << 30;

/// Opens a file for reading. `.gz` and `.zst` files are decompressed.
///
/// # Errors
/// If the file cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>, FileError> {
    let failed = |error| FileError::new("read", path, error);
    let file = File::open(path).map_err(failed)?;
    // A folder opens on Unix, and fails only when it is read.
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    Ok(decompressed(path, BufReader::with_capacity(1 << 16, file)))
}

/// The content of the file at `path` from its bytes: those of `.gz` and `.zst` files are decompressed.
pub fn decompressed<'a>(path: &Path, bytes: impl BufRead + Send + 'a) -> Box<dyn BufRead + Send + 'a> {
    match extension(path).as_deref() {
        Some("gz") => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(bytes))),
        Some("zst") => {
            let decoder = Frames { decoder: None, file: bytes };
            Box::new(BufReader::new(decoder))
        }
        _ => Box::new(bytes),
    }
}

/// The extension that tells the layout, in lower case: that of `a.conll.gz` is `conll`.
pub(super) fn inner_extension(path: &Path) -> Option<String> {
    match extension(path)?.as_str() {
        "gz" | "zst" => extension(&PathBuf::from(path.file_stem()?)),
        other => Some(other.to_owned()),
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The frames of a zstd file, one after the other.
struct Frames<R: BufRead> {
    decoder: Option<Box<ruzstd::decoding::FrameDecoder>>,
    file: R,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
        loop {
            if self.decoder.is_none() {
                if self.file.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                let mut decoder = Box::new(FrameDecoder::new());
                decoder.init(&mut self.file).map_err(io::Error::other)?;
                self.decoder = Some(decoder);
            }
            let Some(decoder) = &mut self.decoder else { continue };
            if decoder.can_collect() == 0 && !decoder.is_finished() {
                let wanted = BlockDecodingStrategy::UptoBytes(1 << 16);
                decoder.decode_blocks(&mut self.file, wanted).map_err(io::Error::other)?;
            }
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            if decoder.is_finished() {
                self.decoder = None;
            }
        }
    }
}

/// A line, or a value of several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of its first line, from 1.
    pub(super) number: usize,
    /// The text without line end.
    pub(super) text: String,
}

/// Checked text from bytes.
pub(super) struct Source<'a> {
    reader: Box<dyn BufRead + Send + 'a>,
    /// Lines that were read.
    line: usize,
    /// Bytes that were read.
    position: u64,
    started: bool,
    ended: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(reader: impl BufRead + Send + 'a) -> Self {
        Self { reader: Box::new(reader), line: 0, position: 0, started: false, ended: false }
    }

    /// The next line; `None` at the end, and after an error of the system or of the encoding as a whole.
    pub(super) fn line(&mut self) -> Option<Result<Line, LineFault>> {
        if let Err(fault) = self.start()? {
            return Some(Err(fault));
        }
        let number = self.line + 1;
        let begin = self.position;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes);
        match read {
            Err(error) => return Some(Err(self.end(number, Fault::Read(error)))),
            Ok(0) => {
                self.ended = true;
                return None;
            }
            Ok(count) => self.position += count as u64,
        }
        self.line = number;
        if bytes.len() > MAX_LINE {
            if bytes.last() != Some(&b'\n')
                && let Err(error) = self.skip_line()
            {
                return Some(Err(self.end(number, Fault::Read(error))));
            }
            return Some(Err(LineFault::new(number, Fault::LongLine(MAX_LINE >> 20))));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Some(checked(number, begin, bytes))
    }

    /// What the source begins with, white space left out, as far as it is buffered.
    pub(super) fn beginning(&mut self) -> Result<&[u8], LineFault> {
        if let Some(started) = self.start() {
            started?;
        }
        let buffer = self.reader.fill_buf().map_err(|error| LineFault::new(1, Fault::Read(error)))?;
        Ok(buffer.trim_ascii_start())
    }

    /// The next JSON value, whether values stand in an array or one after the other; `place` follows. An array that does not
    /// end is a fault, for a file that was cut off must not pass as a whole one.
    pub(super) fn value(&mut self, place: &mut Place) -> Option<Result<Line, LineFault>> {
        if let Err(fault) = self.start()? {
            return Some(Err(fault));
        }
        let mut scanner = Scanner::default();
        let (mut number, mut begin) = (self.line + 1, self.position);
        loop {
            let byte = match self.byte() {
                Ok(Some(byte)) => byte,
                Ok(None) if scanner.bytes.is_empty() => {
                    let fault = place.end().err()?;
                    return Some(Err(self.end(self.line + 1, fault)));
                }
                Ok(None) => {
                    // The value itself was cut off, which its parser says.
                    *place = Place::After;
                    break;
                }
                Err(error) => return Some(Err(self.end(self.line + 1, Fault::Read(error)))),
            };
            if scanner.bytes.is_empty() {
                match place.step(byte) {
                    Ok(false) => {}
                    Ok(true) => {
                        (number, begin) = (self.line + 1, self.position - 1);
                        scanner.push(byte);
                    }
                    Err(fault) => return Some(Err(self.end(self.line + 1, fault))),
                }
            } else if scanner.ends_before(byte) {
                break;
            } else {
                scanner.push(byte);
            }
            if scanner.complete() {
                break;
            }
            if scanner.bytes.len() > MAX_LINE {
                return Some(Err(self.end(number, Fault::LongLine(MAX_LINE >> 20))));
            }
        }
        Some(checked(number, begin, scanner.bytes))
    }

    /// Skips the byte order mark. `None` after the end.
    fn start(&mut self) -> Option<Result<(), LineFault>> {
        if self.ended {
            return None;
        }
        if std::mem::replace(&mut self.started, true) {
            return Some(Ok(()));
        }
        let head = match self.reader.fill_buf() {
            Ok(buffer) => <[u8; 3]>::try_from(buffer.get(..3).unwrap_or_default()).unwrap_or_else(|_| {
                let mut head = [0; 3];
                head[..buffer.len().min(3)].copy_from_slice(&buffer[..buffer.len().min(3)]);
                head
            }),
            Err(error) => return Some(Err(self.end(1, Fault::Read(error)))),
        };
        match head {
            [0xef, 0xbb, 0xbf] => {
                self.reader.consume(3);
                self.position += 3;
            }
            [0xff, 0xfe, _] | [0xfe, 0xff, _] => return Some(Err(self.end(1, Fault::Utf16))),
            _ => {}
        }
        Some(Ok(()))
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.reader.fill_buf()?.first().copied();
        if let Some(byte) = byte {
            self.reader.consume(1);
            self.position += 1;
            self.line += usize::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// Skips the rest of a line that is too long.
    fn skip_line(&mut self) -> io::Result<()> {
        let begin = self.position;
        loop {
            if self.position - begin > MAX_SKIP {
                return Err(io::Error::other(format!("no line end in {} GiB", MAX_SKIP >> 30)));
            }
            let buffer = self.reader.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(buffer.len(), |end| end + 1);
            self.reader.consume(count);
            self.position += count as u64;
            if end.is_some() || count == 0 {
                return Ok(());
            }
        }
    }

    fn end(&mut self, line: usize, fault: Fault) -> LineFault {
        self.ended = true;
        LineFault::new(line, fault)
    }
}

/// UTF-8 text of a line that begins at byte `begin` of its source.
fn checked(number: usize, begin: u64, bytes: Vec<u8>) -> Result<Line, LineFault> {
    String::from_utf8(bytes).map(|text| Line { number, text }).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let line = number + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        LineFault::new(line, Fault::NotUtf8 { byte, column: at + 1, position: begin + at as u64 + 1 })
    })
}

/// Finds the end of a JSON value.
#[derive(Default)]
struct Scanner {
    bytes: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    complete: bool,
}

impl Scanner {
    /// Whether `byte` ends a value that no bracket closes: a number, a word.
    fn ends_before(&self, byte: u8) -> bool {
        self.depth == 0 && !self.in_string && matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n')
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => {
                    self.in_string = false;
                    self.complete = self.depth == 0;
                }
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.complete = self.depth == 0;
            }
            _ => {}
        }
    }

    fn complete(&self) -> bool {
        self.complete
    }
}
