//! A file of training examples in blocks, which are read in any order.
//!
//! The blocks come first: the ids of some examples each, in postcard's encoding. Then come the table of the blocks and a
//! description as JSON, the length and the CRC-32C of this JSON, and [`MAGIC`]. The file gets its name when it is complete, and
//! each block has a checksum.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hyperloader_core::files::{AtomicFile, FileError, open_regular};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::example::Example;

/// The last bytes of a store.
const MAGIC: &[u8; 8] = b"HLSTORE1";
/// The bytes after the JSON: its length, its checksum and [`MAGIC`].
const TAIL: u64 = 8 + 4 + 8;
/// The most bytes of the JSON.
const MAX_INDEX: u64 = 1 << 30;

/// A store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bytes are not those that were written.
    #[error("`{}` is damaged: {what}\nhint: remove it; the next training makes it again", path.display())]
    Damaged {
        /// Path of the store.
        path: PathBuf,
        /// Name of the part that is damaged.
        what: String,
    },
}

/// The place of a block. The blocks follow each other without gaps.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Block {
    bytes: u32,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Index<M> {
    /// The number of all examples.
    examples: usize,
    /// The number of examples of each block but the last, which may have less.
    block: usize,
    blocks: Vec<Block>,
    metadata: M,
}

/// Source and target ids of an example.
type Ids<'a> = (&'a [u32], &'a [u32]);

/// A store that is being written.
pub(super) struct StoreWriter {
    file: AtomicFile,
    path: PathBuf,
    /// The number of examples of a block.
    block: usize,
    blocks: Vec<Block>,
    examples: usize,
    pending: Vec<Example>,
}

impl StoreWriter {
    /// Begins a store with `block` examples in each block but the last.
    pub(super) fn create(path: &Path, block: usize) -> Result<Self, FileError> {
        let file = AtomicFile::create(path)?;
        let (blocks, pending) = (Vec::new(), Vec::new());
        Ok(Self { file, path: path.to_owned(), block, blocks, examples: 0, pending })
    }

    pub(super) fn add(&mut self, example: Example) -> Result<(), FileError> {
        self.examples += 1;
        self.pending.push(example);
        if self.pending.len() == self.block { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let ids: Vec<Ids> = self.pending.iter().map(|e| (&*e.source, &*e.target)).collect();
        let bytes = postcard::to_stdvec(&ids).expect("lists of numbers can be encoded");
        self.blocks.push(Block { bytes: bytes.len() as u32, crc32c: crc32c::crc32c(&bytes) });
        self.pending.clear();
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(|error| FileError::new("write", &self.path, error))
    }

    /// Gives the file its name.
    pub(super) fn commit<M: Serialize>(mut self, metadata: &M) -> Result<(), FileError> {
        if !self.pending.is_empty() {
            self.flush()?;
        }
        let blocks = std::mem::take(&mut self.blocks);
        let index = Index { examples: self.examples, block: self.block, blocks, metadata };
        let json = serde_json::to_vec(&index).expect("tables of numbers and names can be encoded");
        self.write(&json)?;
        self.write(&(json.len() as u64).to_le_bytes())?;
        self.write(&crc32c::crc32c(&json).to_le_bytes())?;
        self.write(MAGIC)?;
        self.file.commit()
    }
}

/// A store that is read.
#[derive(Debug)]
pub struct Store {
    file: File,
    path: PathBuf,
    examples: usize,
    /// The number of examples of each block but the last.
    block: usize,
    /// The place of the first byte of each block, and its checksum.
    blocks: Vec<(u64, Block)>,
}

impl Store {
    /// Opens a store. Returns its description as well.
    ///
    /// # Errors
    /// If it is not a whole store.
    pub(super) fn open<M: DeserializeOwned>(path: &Path) -> Result<(Self, M), StoreError> {
        let mut file = open_regular(path)?;
        let damaged = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
        let failed = |error| FileError::new("read", path, error);
        let size = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut tail = [0; TAIL as usize];
        let begin = size.checked_sub(TAIL).ok_or_else(|| damaged("it is too short"))?;
        file.seek(SeekFrom::Start(begin)).map_err(failed)?;
        file.read_exact(&mut tail).map_err(failed)?;
        let [length, checksum] = [&tail[..8], &tail[8..12]].map(number);
        if tail[12..] != MAGIC[..] || length > begin.min(MAX_INDEX) {
            return Err(damaged("it has no end"));
        }
        let mut json = vec![0; length as usize];
        file.seek(SeekFrom::Start(begin - length)).map_err(failed)?;
        file.read_exact(&mut json).map_err(failed)?;
        let index = Some(json).filter(|json| u64::from(crc32c::crc32c(json)) == checksum);
        let index: Option<Index<M>> = index.and_then(|json| serde_json::from_slice(&json).ok());
        let Index { examples, block, blocks, metadata } =
            index.ok_or_else(|| damaged("its table of blocks"))?;
        let mut next = 0;
        let place = |block: Block| {
            let at = next;
            next += u64::from(block.bytes);
            (at, block)
        };
        let blocks: Vec<_> = blocks.into_iter().map(place).collect();
        if next != begin - length || block == 0 || blocks.len() != examples.div_ceil(block) {
            return Err(damaged("its table of blocks"));
        }
        Ok((Self { file, path: path.to_owned(), examples, block, blocks }, metadata))
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.examples
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.examples == 0
    }

    /// The number of examples of each block but the last, which may have less.
    pub fn block_len(&self) -> usize {
        self.block
    }

    /// Reads a block.
    ///
    /// # Errors
    /// If the file cannot be read, or its bytes have changed.
    pub fn block(&self, number: usize) -> Result<Vec<Example>, StoreError> {
        let (at, Block { bytes: length, crc32c: checksum }) = self.blocks[number];
        let mut bytes = vec![0; length as usize];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| FileError::new("read", &self.path, error))?;
        let whole = Some(bytes).filter(|bytes| crc32c::crc32c(bytes) == checksum);
        let ids: Option<Vec<(Vec<u32>, Vec<u32>)>> =
            whole.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        let expected = self.block.min(self.examples - number * self.block);
        let ids = ids.filter(|ids| ids.len() == expected).ok_or_else(|| StoreError::Damaged {
            path: self.path.clone(),
            what: format!("block {number}"),
        })?;
        Ok(ids.into_iter().map(|(source, target)| Example::of_ids(source, target)).collect())
    }
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, examples: u32, block: usize) {
        let mut writer = StoreWriter::create(path, block).unwrap();
        for number in 0..examples {
            writer.add(Example::of_ids(vec![number; 3], vec![number, u32::MAX])).unwrap();
        }
        writer.commit(&examples).unwrap();
    }

    #[test]
    fn blocks_are_read_back_in_any_order_with_the_description() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for (examples, block) in [(0, 3), (1, 3), (6, 3), (7, 3)] {
            write(&path, examples, block);
            let (store, metadata) = Store::open::<u32>(&path).unwrap();
            assert_eq!((metadata, store.len()), (examples, examples as usize));
            assert_eq!(store.blocks.len(), (examples as usize).div_ceil(block));
            for number in (0..store.blocks.len()).rev() {
                let first = (number * block) as u32;
                let read = store.block(number).unwrap().into_iter().map(|e| (e.source, e.target));
                let written =
                    (first..examples.min(first + block as u32)).map(|n| (vec![n; 3], vec![n, u32::MAX]));
                assert!(read.eq(written));
            }
        }
    }

    /// Writes a store whose table has these numbers of examples: of all, and of a block.
    fn write_with(path: &Path, examples: usize, block: usize) {
        let mut writer = StoreWriter::create(path, 3).unwrap();
        (0..7).for_each(|number| writer.add(Example::of_ids(vec![number], vec![1])).unwrap());
        (writer.examples, writer.block) = (examples, block);
        writer.commit(&7).unwrap();
    }

    #[test]
    fn a_table_that_does_not_fit_the_blocks_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let read = || -> Result<(), StoreError> {
            let (store, _) = Store::open::<u32>(&path)?;
            (0..store.blocks.len()).try_for_each(|number| store.block(number).map(drop))
        };
        write_with(&path, 7, 3);
        read().unwrap();
        let wrong =
            [(0, 3), (6, 3), (8, 3), (9, 3), (10, 3), (usize::MAX, 3), (7, 2), (7, 0), (7, usize::MAX)];
        for (examples, block) in wrong {
            write_with(&path, examples, block);
            let message = read().unwrap_err().to_string();
            assert!(message.contains("` is damaged: "), "{examples}, {block}: {message}");
        }
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        write(&path, 7, 3);
        let whole = std::fs::read(&path).unwrap();
        let read = || -> Result<(), StoreError> {
            let (store, _) = Store::open::<u32>(&path)?;
            (0..3).try_for_each(|number| store.block(number).map(drop))
        };
        read().unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let message = read().unwrap_err().to_string();
            assert!(
                message.contains("` is damaged: ") && message.contains("hint: remove it"),
                "{at}: {message}"
            );
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(read().is_err(), "cut off at {at}");
        }
    }
}
