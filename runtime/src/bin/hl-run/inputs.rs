//! The records of all inputs, read by a thread of its own while others are tagged.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use hyperloader_core::corpus::{Layout, LineFault, ReadOptions, Record, Records, decompressed, layout_of};
use hyperloader_core::files::FileError;
use hyperloader_core::parquet;
use serde_json::Value;

use crate::args::TagArgs;
use crate::queue::Queue;
use crate::values::InputFormat;

/// Weight of the records that are read ahead, about their size in bytes.
const AHEAD: usize = 16 << 20;

/// Where a record is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Index of its input.
    pub(crate) input: usize,
    pub(crate) origin: Arc<str>,
    pub(crate) number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, number, .. } = self;
        match &**origin {
            ARGUMENT => write!(f, "{ARGUMENT} {number}"),
            file => write!(f, "{file}:{number}"),
        }
    }
}

const ARGUMENT: &str = "argument";
const STDIN: &str = "<stdin>";

/// A record, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) record: Result<Record, LineFault>,
    /// Bytes of all inputs up to the end of the record, compressed as they are.
    pub(crate) position: u64,
}

/// One input.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// `None` is stdin.
    path: Option<PathBuf>,
    layout: Layout,
}

impl Input {
    /// Path of the file; `None` is stdin.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The name for messages.
    pub(crate) fn name(&self) -> String {
        self.path.as_ref().map_or(STDIN.to_owned(), |path| path.display().to_string())
    }

    /// The name for files that are made of it: that of the file without folders and extensions.
    pub(crate) fn stem(&self) -> String {
        let Some(path) = &self.path else { return "stdin".to_owned() };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        if stem.is_empty() { "input".to_owned() } else { stem.into_owned() }
    }

    /// The bytes that are read from the beginning to the end, if that is known: of a file that is not Parquet.
    pub(crate) fn length(&self) -> Option<u64> {
        self.size().filter(|_| self.layout != Layout::Parquet)
    }

    /// Size of the file, if it is one.
    pub(crate) fn size(&self) -> Option<u64> {
        let about = std::fs::metadata(self.path.as_ref()?).ok()?;
        about.is_file().then_some(about.len())
    }
}

/// The inputs that the command line names. Files are looked at before anything is tagged.
///
/// # Errors
/// If a file is missing, is a folder or cannot be read, or its format does not follow from its name.
pub(crate) fn inputs(args: &TagArgs) -> Result<Vec<Input>> {
    let layout = args.input_format.map(InputFormat::layout);
    if args.input.is_empty() {
        let input = Input { path: None, layout: layout.unwrap_or(Layout::Text) };
        if input.layout == Layout::Parquet {
            check_parquet(&input)?;
        }
        return Ok(vec![input]);
    }
    let input = |path: &PathBuf| {
        if path.as_os_str() == "-" {
            return Ok(Input { path: None, layout: layout.unwrap_or(Layout::Text) });
        }
        check(path)?;
        if args.input_format.is_none() && !args.names_columns() && is_conllu(path) {
            bail!(
                "`{}` is CoNLL-U: say which of its columns is the word\nhint: `--columns _,word,*` takes the second one; a row of several words (`1-2`) is read as a word, too",
                path.display()
            );
        }
        let Ok(layout) = layout_of(path, layout) else {
            bail!(
                "the format of `{}` does not follow from its name\n\
                 hint: name it, for instance `--input-format text`",
                path.display()
            );
        };
        Ok(Input { path: Some(path.clone()), layout })
    };
    let inputs: Vec<Input> = args.input.iter().map(input).collect::<Result<_>>()?;
    inputs.iter().filter(|input| input.layout == Layout::Parquet).try_for_each(check_parquet)?;
    if inputs.iter().filter(|input| input.path.is_none()).count() > 1 {
        bail!("stdin can be read only once\nhint: name `-` once");
    }
    Ok(inputs)
}

/// Whether Parquet is built in, and the input can be read in any order.
fn check_parquet(input: &Input) -> Result<()> {
    needs_parquet()?;
    match &input.path {
        Some(_) => Ok(()),
        None => bail!("Parquet cannot be read from stdin\nhint: name the file with `--input FILE`"),
    }
}

/// Whether Parquet is built in.
///
/// # Errors
/// If it is not.
pub(crate) fn needs_parquet() -> Result<()> {
    if !parquet::IS_BUILT {
        bail!("hl-run was built without Parquet\nhint: build with `--features parquet`");
    }
    Ok(())
}

/// Whether a file is CoNLL-U by its name: its first column numbers words and ranges of words.
fn is_conllu(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    [".conllu", ".conllu.gz", ".conllu.zst"].iter().any(|end| name.ends_with(end))
}

/// Whether a file can be read. A pipe is not opened: that could wait, and what is read from it is lost.
fn check(path: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::new("read", path, error);
    let about = std::fs::metadata(path).map_err(failed)?;
    if about.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    if about.is_file() {
        File::open(path).map_err(failed)?;
    }
    Ok(())
}

/// The records of some inputs.
#[derive(Debug)]
pub(crate) struct Reading {
    queue: Arc<Queue<Result<Item, FileError>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    /// Starts to read.
    ///
    /// # Errors
    /// If there can be no further thread.
    pub(crate) fn start(inputs: Vec<Input>, options: ReadOptions) -> Result<Self> {
        let queue = Arc::new(Queue::new(AHEAD));
        let source = Source { queue: Arc::clone(&queue), position: Arc::default() };
        let work = move || source.read(&inputs, &options);
        let thread = std::thread::Builder::new().name("input".to_owned()).spawn(work);
        let thread = thread.context("cannot start the thread that reads the input")?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// The next records, at most `size`; those that are there, if input is waited for. None at the end, and after `stop`.
    ///
    /// # Errors
    /// If an input cannot be opened.
    pub(crate) fn batch(&mut self, size: usize, stop: &AtomicBool) -> Result<Vec<Item>> {
        let batch = self.queue.batch(size, stop);
        if batch.is_empty()
            && !stop.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
        Ok(batch.into_iter().collect::<Result<_, _>>()?)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // The thread may wait for stdin: it ends with the program.
        self.queue.close();
    }
}

/// The thread's part.
struct Source {
    queue: Arc<Queue<Result<Item, FileError>>>,
    /// Bytes that records were read from.
    position: Arc<AtomicU64>,
}

impl Drop for Source {
    /// Also after a panic, which the other thread then sees.
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl Source {
    fn read(self, inputs: &[Input], options: &ReadOptions) {
        for (index, input) in inputs.iter().enumerate() {
            let origin: Arc<str> = input.name().into();
            let records = match self.open(input, options) {
                Ok(records) => records,
                Err(error) => {
                    self.queue.push(1, Err(error));
                    return;
                }
            };
            for record in records {
                let number = record.as_ref().map_or_else(|fault| fault.line, |record| record.line);
                let place = Place { input: index, origin: Arc::clone(&origin), number };
                let weight = record.as_ref().map_or(0, weight);
                let position = self.position.load(Ordering::Relaxed);
                if !self.queue.push(weight, Ok(Item { place, record, position })) {
                    return;
                }
            }
        }
    }

    fn open(&self, input: &Input, options: &ReadOptions) -> Result<Records<'static>, FileError> {
        let Some(path) = &input.path else {
            return Ok(Records::new(self.buffered(io::stdin(), true), input.layout, options));
        };
        if input.layout == Layout::Parquet {
            return Records::open(path, input.layout, options);
        }
        let failed = |error| FileError::new("read", path, error);
        let file = File::open(path).map_err(failed)?;
        let may_wait = !file.metadata().map_err(failed)?.is_file();
        let bytes = decompressed(path, self.buffered(file, may_wait));
        Ok(Records::new(bytes, input.layout, options))
    }

    fn buffered<R: Read>(&self, inner: R, may_wait: bool) -> Counted<BufReader<Watched<R>>> {
        let queue = may_wait.then(|| Arc::clone(&self.queue));
        let inner = BufReader::with_capacity(1 << 16, Watched { inner, queue });
        Counted { inner, position: Arc::clone(&self.position) }
    }
}

/// About the bytes that a record takes.
fn weight(record: &Record) -> usize {
    let words = record.words.iter().flatten().chain(record.columns.iter().flatten()).chain(&record.comments);
    let words: usize = words.map(|word| word.len() + size_of::<String>()).sum();
    let places = record.offsets.as_ref().map_or(0, Vec::len) * size_of::<(usize, usize)>()
        + record.word_lines.len() * size_of::<usize>();
    let texts = record.text.iter().chain(record.exact.values()).map(String::len).sum::<usize>();
    256 + texts + words + places + record.fields.iter().map(field_weight).sum::<usize>()
}

fn field_weight((name, value): (&String, &Value)) -> usize {
    name.len() + size_of::<String>() + value_weight(value)
}

/// The bytes of a JSON value, with all that is in it. Readers bound its depth.
fn value_weight(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(values) => values.iter().map(value_weight).sum(),
            Value::Object(fields) => fields.iter().map(field_weight).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// Bytes of a pipe or terminal, which says so when it waits for more.
struct Watched<R> {
    inner: R,
    queue: Option<Arc<Queue<Result<Item, FileError>>>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let waits = |starving| self.queue.iter().for_each(|queue| queue.set_starving(starving));
        waits(true);
        let count = self.inner.read(buffer);
        waits(false);
        count
    }
}

/// Bytes that are counted when they are used, not when they are read ahead.
struct Counted<R> {
    inner: R,
    position: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Sentences of the command line.
pub(crate) fn arguments(sentences: &[String]) -> Vec<Item> {
    let origin: Arc<str> = ARGUMENT.into();
    let item = |(number, text): (usize, &String)| Item {
        place: Place { input: 0, origin: Arc::clone(&origin), number },
        record: Ok(Record { line: number, text: Some(text.clone()), ..Record::default() }),
        position: 0,
    };
    (1..).zip(sentences).map(item).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_weighs_what_all_of_its_fields_weigh() {
        let of = |meta: Value| {
            let fields = json!({ "meta": meta }).as_object().cloned().unwrap_or_default();
            weight(&Record { fields, ..Record::default() })
        };
        let text = "x".repeat(10_000);
        let light = of(json!(null));
        for heavy in [json!(text), json!([[text]]), json!({"a": {"b": text}}), json!({ (text.as_str()): 1 })]
        {
            assert!(of(heavy.clone()) >= light + 10_000, "{heavy}");
        }
        assert!(of(json!(vec![0; 1000])) >= light + 1000);
    }
}
