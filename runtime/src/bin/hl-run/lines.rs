//! Lines of stdin, in batches.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line that is read; longer ones are reported, so that memory is bounded.
const MAX_LINE: usize = 1 << 20;

/// A line that cannot be tagged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// It holds bytes that are not UTF-8.
    #[error("the line is not UTF-8, from byte {0} on\nhint: convert it, for instance with `iconv -t UTF-8`")]
    NotUtf8(usize),
    /// It is too long.
    #[error("the line has more than {MAX_LINE} bytes")]
    TooLong,
}

/// A line's number, from 1, and its text without the line break.
pub(crate) type Line = (usize, Result<String, LineError>);

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    number: usize,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, input), number: 0 }
    }

    /// The next lines, at most `size`: waits for the first, takes others only if they are there already. `None` at the
    /// end.
    pub(crate) fn next_batch(&mut self, size: usize) -> io::Result<Option<Vec<Line>>> {
        let mut batch = Vec::new();
        while batch.len() < size && (batch.is_empty() || self.reader.buffer().contains(&b'\n')) {
            match self.next_line()? {
                Some(line) => batch.push(line),
                None => break,
            }
        }
        Ok(Some(batch).filter(|batch| !batch.is_empty()))
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        } else if bytes.len() > MAX_LINE {
            self.reader.skip_until(b'\n')?;
            return Ok(Some((self.number, Err(LineError::TooLong))));
        }
        let text = String::from_utf8(bytes);
        let text = text.map_err(|error| LineError::NotUtf8(error.utf8_error().valid_up_to() + 1));
        Ok(Some((self.number, text)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(input: &[u8], size: usize) -> Vec<Vec<Line>> {
        let mut lines = Lines::new(input);
        std::iter::from_fn(|| lines.next_batch(size).unwrap()).collect()
    }

    #[test]
    fn lines_come_in_batches_and_keep_their_numbers() {
        let ok = |number, text: &str| (number, Ok(text.to_owned()));
        let found = all(b"one\r\n\ntwo \xff\nlast", 3);
        assert_eq!(
            found,
            [vec![ok(1, "one"), ok(2, ""), (3, Err(LineError::NotUtf8(5)))], vec![ok(4, "last")]]
        );
        assert!(all(b"", 3).is_empty());
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_next_one_read() {
        let mut input = vec![b'a'; 3 * MAX_LINE];
        input.extend(b"\nb\n");
        input.extend(vec![b'c'; MAX_LINE]);
        let found: Vec<Line> = all(&input, 8).concat();
        assert_eq!(found[0], (1, Err(LineError::TooLong)));
        assert_eq!(found[1], (2, Ok("b".to_owned())));
        assert_eq!(found[2].1.as_ref().map(String::len), Ok(MAX_LINE));
    }

    #[test]
    fn a_batch_does_not_wait_for_lines_that_are_not_there() {
        /// Gives one piece a read, as a pipe does.
        struct Pieces(Vec<&'static [u8]>);
        impl Read for Pieces {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.is_empty() {
                    true => Ok(0),
                    false => self.0.remove(0).read(buffer),
                }
            }
        }
        let mut lines = Lines::new(Pieces(vec![b"a\nb\nc", b"d\n", b"e"]));
        let mut sizes = vec![];
        while let Some(batch) = lines.next_batch(8).unwrap() {
            sizes.push(batch.len());
        }
        assert_eq!(sizes, [2, 1, 1]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_lost(input in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), size in 1usize..5) {
            let lines: Vec<Line> = all(&input, size).concat();
            let ends = input.iter().filter(|byte| **byte == b'\n').count();
            let open = usize::from(input.last().is_some_and(|last| *last != b'\n'));
            prop_assert_eq!(lines.len(), ends + open);
            prop_assert!(lines.iter().map(|(number, _)| *number).eq(1..=lines.len()));
            if let Ok(text) = std::str::from_utf8(&input) {
                let expected: Vec<Line> = text.lines().enumerate().map(|(k, line)| (k + 1, Ok(line.to_owned()))).collect();
                // `str::lines` keeps a final `\r` without line feed, as we do.
                prop_assert_eq!(lines, expected);
            }
        }
    }
}
