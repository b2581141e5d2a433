//! brat's standoff format: for each input `NAME.txt` with the texts and `NAME.ann` with the spans, and one `annotation.conf`.
//!
//! Offsets count characters of the whole `.txt` file. A span over several lines is discontinuous there, one fragment per line.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hyperloader_core::corpus::OffsetUnit;
use hyperloader_core::files::{AtomicFile, FileError};
use hyperloader_runtime::{TaggedSpan, TaggerMetadata};

use crate::entry::Entry;
use crate::inputs::Input;

/// Writes a folder.
pub(crate) struct Brat {
    folder: PathBuf,
    /// Name of each input.
    names: Vec<String>,
    /// The type of each label, of each model.
    types: Vec<HashMap<String, String>>,
    /// What types begin with, of each model.
    prefixes: Vec<String>,
    order: Vec<String>,
    /// Index of the next input that gets files.
    next: usize,
    document: Option<Document>,
}

/// The name of each input's files, without extension.
fn names(inputs: &[Input]) -> Vec<String> {
    match inputs {
        [] => vec!["arguments".to_owned()],
        inputs => inputs.iter().map(Input::stem).collect(),
    }
}

/// All files that are written to `folder`.
pub(crate) fn files(folder: &Path, inputs: &[Input]) -> Vec<PathBuf> {
    let names = names(inputs).into_iter().flat_map(|name| [format!("{name}.txt"), format!("{name}.ann")]);
    names.chain([CONFIGURATION.to_owned()]).map(|name| folder.join(name)).collect()
}

const CONFIGURATION: &str = "annotation.conf";

/// The files of an input.
struct Document {
    text: (AtomicFile, PathBuf),
    spans: (AtomicFile, PathBuf),
    /// Characters of the text so far.
    length: usize,
    /// Spans so far.
    count: usize,
}

impl Brat {
    /// Creates the folder, if it is not there.
    ///
    /// # Errors
    /// If two inputs have one name, labels cannot be told apart, or the folder cannot be created.
    pub(crate) fn new(
        folder: &Path,
        inputs: &[Input],
        models: &[&TaggerMetadata],
        offsets: OffsetUnit,
    ) -> Result<Self> {
        if offsets != OffsetUnit::Chars {
            bail!("offsets in brat's files are characters\nhint: leave out `--offsets {}`", offsets.name());
        }
        let names = names(inputs);
        let twice = |(at, name): &(usize, &String)| names[..*at].contains(name);
        if let Some((_, name)) = names.iter().enumerate().find(twice) {
            bail!(
                "two inputs would be written to `{name}.ann`\nhint: rename one, or tag them one after the other"
            );
        }
        let prefix = |model: &&TaggerMetadata| match models {
            [_] => String::new(),
            _ => format!("{}-", model.task),
        };
        let prefixes: Vec<String> = models.iter().map(prefix).collect();
        let types = |(model, prefix): (&&TaggerMetadata, &String)| -> Vec<(String, String)> {
            let of = |label: &String| (label.clone(), type_of(&format!("{prefix}{label}")));
            model.labels.iter().map(of).collect()
        };
        let types: Vec<Vec<(String, String)>> = models.iter().zip(&prefixes).map(types).collect();
        let all: Vec<&(String, String)> = types.iter().flatten().collect();
        for (at, (label, name)) in all.iter().enumerate() {
            if let Some((first, _)) = all[..at].iter().find(|(_, other)| other == name) {
                bail!(
                    "labels `{first}` and `{label}` are both `{name}` in brat\nhint: use another format, such as `jsonl`"
                );
            }
        }
        let order = all.into_iter().map(|(_, name)| name.clone()).collect();
        std::fs::create_dir_all(folder).map_err(|error| FileError::new("create", folder, error))?;
        let types = types.into_iter().map(HashMap::from_iter).collect();
        Ok(Self { folder: folder.to_owned(), names, types, prefixes, order, next: 0, document: None })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn record(&mut self, entry: &Entry) -> Result<()> {
        self.open(entry.place.input + 1)?;
        let Some(document) = &mut self.document else { return Ok(()) };
        match &entry.result {
            Ok(models) => {
                for (tagged, (types, prefix)) in models.iter().zip(self.types.iter().zip(&self.prefixes)) {
                    for span in &tagged.spans {
                        let label = types.get(&span.label).cloned();
                        document.span(
                            &label.unwrap_or_else(|| type_of(&format!("{prefix}{}", span.label))),
                            span,
                        )?;
                    }
                }
                document.text(models.first().map(|tagged| tagged.text.as_str()).unwrap_or_default())
            }
            Err(_) => document.text(entry.text.as_deref().unwrap_or_default()),
        }
    }

    /// Completes all files, also those of inputs without records.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.open(self.names.len())?;
        self.close()?;
        let entities: String = self.order.iter().map(|name| format!("{name}\n")).collect();
        let path = self.folder.join(CONFIGURATION);
        let configuration = format!("[entities]\n{entities}\n[relations]\n\n[events]\n\n[attributes]\n");
        let mut file = AtomicFile::create(&path)?;
        write(&mut file, &path, &configuration)?;
        Ok(file.commit()?)
    }

    /// Goes on until the files of `count` inputs are begun.
    fn open(&mut self, count: usize) -> Result<()> {
        while self.next < count {
            self.close()?;
            let name = self.names.get(self.next).context("an input without a name")?;
            let file = |end: &str| {
                let path = self.folder.join(format!("{name}.{end}"));
                AtomicFile::create(&path).map(|file| (file, path))
            };
            self.document = Some(Document { text: file("txt")?, spans: file("ann")?, length: 0, count: 0 });
            self.next += 1;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if let Some(Document { text: (text, _), spans: (spans, _), .. }) = self.document.take() {
            text.commit()?;
            spans.commit()?;
        }
        Ok(())
    }
}

impl Document {
    fn text(&mut self, text: &str) -> Result<()> {
        // Line ends of other systems would shift offsets where brat reads the file.
        let text = text.replace('\r', " ");
        self.length += text.chars().count() + 1;
        write(&mut self.text.0, &self.text.1, &(text + "\n"))
    }

    fn span(&mut self, label: &str, span: &TaggedSpan) -> Result<()> {
        self.count += 1;
        let (mut at, mut fragments, mut texts) = (self.length + span.start, Vec::new(), Vec::new());
        for line in span.text.split('\n') {
            let end = at + line.chars().count();
            if end > at {
                fragments.push(format!("{at} {end}"));
                texts.push(line.replace('\r', " "));
            }
            at = end + 1;
        }
        let (count, fragments, text) = (self.count, fragments.join(";"), texts.join(" "));
        write(&mut self.spans.0, &self.spans.1, &format!("T{count}\t{label} {fragments}\t{text}\n"))
    }
}

fn write(file: &mut AtomicFile, path: &Path, text: &str) -> Result<()> {
    Ok(file.write_all(text.as_bytes()).map_err(|error| FileError::new("write", path, error))?)
}

/// The name of a label in brat, which has letters, digits, `-` and `_`.
fn type_of(label: &str) -> String {
    label.chars().map(|c| if c.is_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}
