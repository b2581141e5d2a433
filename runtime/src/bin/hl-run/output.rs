//! Where results go: stdout, a file that appears when it is complete, a file that can be continued, or brat's folder.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use anstream::adapter::strip_str;
use anyhow::{Result, bail};
use hyperloader_cli::Console;
use hyperloader_core::files::{AtomicFile, FileError, check_output};
use hyperloader_runtime::TaggerMetadata;

use crate::args::TagArgs;
use crate::conflict;
use crate::entry::Entry;
use crate::formats::brat::{self, Brat};
use crate::formats::parquet::Table;
use crate::formats::{self, Writer};
use crate::inputs::{Input, needs_parquet};
use crate::partial::{self, Partial, Task};
use crate::values::Format;

/// The place that is asked for, checked before the model is opened.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) format: Format,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Stdout,
    File(AtomicFile),
    Partial(PathBuf),
    Folder(PathBuf),
}

/// The output that the command line asks for.
///
/// # Errors
/// If the format does not follow from the name, does not suit the place, or the place cannot be written or is a file that is read.
pub(crate) fn target(args: &TagArgs, inputs: &[Input]) -> Result<Target> {
    let Some(path) = &args.output else {
        let format = args.output_format.unwrap_or(Format::Text);
        return match format {
            Format::Parquet => {
                bail!("`parquet` is written to a file\nhint: name it, for instance `--output tagged.parquet`")
            }
            Format::Brat => {
                bail!("`brat` has several files\nhint: name a folder for them, for instance `--output spans`")
            }
            _ => Ok(Target { format, place: Place::Stdout }),
        };
    };
    uncompressed(path)?;
    let format = match args.output_format {
        Some(format) => format,
        None => format_of(path)?,
    };
    if format == Format::Parquet {
        needs_parquet()?;
        one_model(args.models.len())?;
    }
    if args.resume && !format.can_resume() {
        bail!(
            "`{}` cannot be continued: its parts depend on each other\n\
             hint: use `jsonl`, `conll`, `tsv` or `text`, or leave out `--resume`",
            format.name()
        );
    }
    // Messages have the name that was typed.
    let typed = path;
    let path = followed(typed, format)?;
    conflict::check(args, &[vec![typed.clone()], further(&path, format, args.resume, inputs)].concat())?;
    let place = match (format, args.resume) {
        (Format::Brat, _) => Place::Folder(path),
        (_, true) => Place::Partial(path),
        (_, false) => Place::File(AtomicFile::create(&path)?),
    };
    Ok(Target { format, place })
}

/// A table of Parquet has columns for the tags of one model.
fn one_model(count: usize) -> Result<()> {
    match count > 1 {
        true => {
            bail!(
                "`parquet` has the tags of one model\nhint: use `jsonl`, or tag with one model after the other"
            )
        }
        false => Ok(()),
    }
}

/// Checks that a single file can be written and is none that is read.
///
/// # Errors
/// As [`target`].
pub(crate) fn check_file(args: &TagArgs, path: &Path) -> Result<()> {
    uncompressed(path)?;
    followed(path, Format::Text)?;
    conflict::check(args, &[path.to_owned()])?;
    Ok(check_output(path)?)
}

/// All files that are written besides the output itself.
fn further(path: &Path, format: Format, resume: bool, inputs: &[Input]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if resume {
        files.extend(partial::files(path));
    }
    if format == Format::Brat {
        files.extend(brat::files(path, inputs));
    }
    files
}

fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn format_of(path: &Path) -> Result<Format> {
    let Some(format) = Format::from_extension(&extension(path)) else {
        bail!(
            "the format of `{}` does not follow from its name\nhint: name it, for instance `--output-format jsonl`",
            path.display()
        );
    };
    Ok(format)
}

/// Whether the name of a file is right: outputs are not compressed.
fn uncompressed(path: &Path) -> Result<()> {
    let program = match extension(path).as_str() {
        "gz" => "gzip",
        "zst" => "zstd",
        _ => return Ok(()),
    };
    bail!(
        "`{}` is the name of a compressed file, and outputs are not compressed\nhint: leave out `--output` and pipe the results into `{program}`",
        path.display()
    )
}

/// The file that a name leads to: symbolic links are followed. Only files are replaced, no devices, pipes and folders.
fn followed(path: &Path, format: Format) -> Result<PathBuf> {
    let Ok(about) = std::fs::metadata(path) else { return Ok(path.to_owned()) };
    match (about.is_file(), about.is_dir(), format) {
        (true, _, Format::Brat) => bail!("`{}` is a file, and `brat` needs a folder", path.display()),
        (true, _, _) | (_, true, Format::Brat) => {
            Ok(std::fs::canonicalize(path).map_err(|error| FileError::new("read", path, error))?)
        }
        (_, true, _) => bail!("`{}` is a folder\nhint: name a file in it", path.display()),
        _ => bail!(
            "`{}` is a device or a pipe, expected a file\nhint: leave out `--output` and redirect stdout",
            path.display()
        ),
    }
}

/// An output that is written.
pub(crate) struct Output<'a> {
    console: &'a Console,
    writer: Option<Box<dyn Writer>>,
    /// Whether the text has colors, which files do not get. Data may have the same characters, and keeps them.
    styled: bool,
    /// Whether `?` marks labels that the tagger does not list; JSON and Parquet have a field for that.
    marks: bool,
    destination: Destination,
}

enum Destination {
    Stdout,
    File(AtomicFile, PathBuf),
    Partial(Partial),
    Folder(Brat),
    Table(Box<Table>),
}

impl Target {
    /// Begins to write; `task` is what a file to be continued must have been written for.
    ///
    /// # Errors
    /// If the place cannot be written, or holds the beginning of something else.
    pub(crate) fn open<'a>(
        self,
        args: &TagArgs,
        inputs: &[Input],
        models: &[&TaggerMetadata],
        console: &'a Console,
        task: impl FnOnce() -> Task,
    ) -> Result<Output<'a>> {
        let destination = match self.place {
            Place::Stdout => Destination::Stdout,
            Place::File(file) if self.format == Format::Parquet => {
                // A file can have several tasks.
                one_model(models.len())?;
                let path = args.output.as_deref().unwrap_or(Path::new(""));
                Destination::Table(Box::new(Table::new(file, path, args.offsets)?))
            }
            Place::File(file) => Destination::File(file, args.output.clone().unwrap_or_default()),
            Place::Partial(path) => Destination::Partial(Partial::open(&path, task())?),
            Place::Folder(path) => Destination::Folder(Brat::new(&path, inputs, models, args.offsets)?),
        };
        let writer = formats::writer(self.format, args.offsets, models);
        let styled = matches!(self.format, Format::Text | Format::Pretty);
        let marks = !matches!(self.format, Format::Json | Format::Jsonl | Format::Parquet);
        let mut output = Output { console, writer, styled, marks, destination };
        if output.done() == (0, 0) {
            let begin = output.writer.as_ref().map(|writer| writer.begin());
            output.write(&begin.unwrap_or_default())?;
        }
        Ok(output)
    }
}

impl Output<'_> {
    /// Records, and failed ones among them, that an earlier call wrote.
    pub(crate) fn done(&self) -> (usize, usize) {
        match &self.destination {
            Destination::Partial(partial) => partial.done(),
            _ => (0, 0),
        }
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If the place cannot be written.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<()> {
        let marked = if self.marks { entry.with_marks() } else { None };
        let entry = marked.as_ref().unwrap_or(entry);
        match (&mut self.writer, &mut self.destination) {
            (_, Destination::Folder(brat)) => brat.record(entry),
            (_, Destination::Table(table)) => table.record(entry),
            (Some(writer), _) => {
                let text = writer.record(entry)?;
                self.write(&text)
            }
            (None, _) => Ok(()),
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let plain = match self.styled {
            true => Cow::Owned(strip_str(text).to_string()),
            false => Cow::Borrowed(text),
        };
        match &mut self.destination {
            Destination::Stdout if self.styled => self.console.print(text),
            Destination::Stdout => self.console.print_data(text.as_bytes()),
            Destination::File(file, path) => {
                let written = file.write_all(plain.as_bytes());
                Ok(written.map_err(|error| FileError::new("write", path, error))?)
            }
            Destination::Partial(partial) => partial.write(&plain),
            Destination::Folder(_) | Destination::Table(_) => Ok(()),
        }
    }

    /// Passes on what was written, `records` in all with `errors` failed ones.
    ///
    /// # Errors
    /// As [`Output::record`].
    pub(crate) fn flush(&mut self, records: usize, errors: usize) -> Result<()> {
        match &mut self.destination {
            Destination::Stdout => self.console.flush(),
            Destination::Partial(partial) => partial.keep(records, errors),
            Destination::File(..) | Destination::Folder(_) | Destination::Table(_) => Ok(()),
        }
    }

    /// Whether nobody reads on.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.destination, Destination::Stdout) && self.console.is_closed()
    }

    /// What becomes of the output if it is not finished, for people.
    pub(crate) fn left(&self) -> String {
        match &self.destination {
            Destination::Stdout => "they are written".to_owned(),
            Destination::Partial(partial) => {
                format!(
                    "they are kept in `{}`\nhint: the same command continues it",
                    partial.unfinished().display()
                )
            }
            Destination::File(..) => {
                "the output is not written\nhint: with `--resume` an unfinished output is kept".to_owned()
            }
            Destination::Table(_) => "the output is not written".to_owned(),
            Destination::Folder(_) => "the files of unfinished inputs are not written".to_owned(),
        }
    }

    /// Ends the output before its time. What went to stdout becomes a whole document.
    ///
    /// # Errors
    /// As [`Output::record`].
    pub(crate) fn interrupt(self) -> Result<()> {
        match self.destination {
            Destination::Stdout => self.finish(),
            Destination::File(..)
            | Destination::Partial(_)
            | Destination::Folder(_)
            | Destination::Table(_) => Ok(()),
        }
    }

    /// Completes the output.
    ///
    /// # Errors
    /// As [`Output::record`].
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(end) = self.writer.as_ref().map(|writer| writer.end()) {
            self.write(&end)?;
        }
        match self.destination {
            Destination::Stdout => self.console.flush(),
            Destination::File(file, _) => Ok(file.commit()?),
            Destination::Partial(partial) => partial.finish(),
            Destination::Folder(brat) => brat.finish(),
            Destination::Table(table) => table.finish(),
        }
    }
}
