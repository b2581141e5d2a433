//! Plain `hl-run`: tags the records of arguments, files and stdin.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hyperloader_cli::{Console, Exit, stop_on_interrupt};
use hyperloader_runtime::{ModelFile, Statistics, Tagger, Threshold, Word};
use serde_json::json;

use crate::args::TagArgs;
use crate::entry::{self, Entry};
use crate::inputs::{self, Input, Item, Place, Reading};
use crate::output::{Output, target};
use crate::partial::{Task, stamp};
use crate::progress::Progress;
use crate::values::InputFormat;

pub(crate) fn run(args: &TagArgs, console: &Console) -> Result<Exit> {
    let inputs = check(args)?;
    // What is wrong with input and output is said before a model is opened.
    let target = target(args, &inputs)?;
    let stop = stop_on_interrupt()?;
    let tagger = Tagger::new(ModelFile::open(&args.model)?, &args.options())?;
    for notice in tagger.backend().notices() {
        console.note(notice);
    }
    console.note(format_args!("backend: {}", tagger.backend().description()));
    if let Some(Threshold { score, bound, .. }) = tagger.threshold() {
        console.note(format_args!(
            "answering sentences with a score of at least {score}: at most {:.1} % of them have a wrong tag",
            100.0 * bound
        ));
    }
    let began = Instant::now();
    let format = target.format;
    let task = || task(args, &inputs, &tagger, &format.name());
    let output = target.open(args, &inputs, tagger.metadata(), console, task)?;
    let visible = args.output.is_none() && io::stdout().is_terminal();
    let progress = Progress::new(console, &inputs, visible || !args.sentences.is_empty());
    let source = Source::new(args, &inputs, console)?;
    let work = Work { tagger: &tagger, console, output, progress, counts: Counts::default(), stop };
    let exit = work.run(source)?;
    if args.stats {
        console.requested(statistics(tagger.statistics(), began.elapsed()));
    }
    Ok(exit)
}

/// The inputs; none if there are arguments.
fn check(args: &TagArgs) -> Result<Vec<Input>> {
    if args.sentences.is_empty() {
        return inputs::inputs(args);
    }
    match args.input_format.is_none_or(InputFormat::is_line) {
        true => Ok(vec![]),
        false => anyhow::bail!(
            "arguments are sentences, one each\nhint: name a file with `--input FILE`, or `-` for stdin"
        ),
    }
}

/// What must be the same when an output is continued.
fn task(args: &TagArgs, inputs: &[Input], tagger: &Tagger, format: &str) -> Task {
    let metadata = tagger.metadata();
    let pairs = [
        ("task", json!(metadata.task)),
        ("checkpoint", json!(metadata.checkpoint_sha256)),
        ("output format", json!(format)),
        ("options", json!(args.settings())),
        ("arguments", json!(args.sentences)),
        ("inputs", json!(inputs.iter().map(Input::name).collect::<Vec<_>>())),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value)).into_iter();
    let files = inputs.iter().filter_map(Input::path).chain([args.model.as_path()]);
    pairs.chain(files.flat_map(stamp)).collect()
}

/// `9 sentences in 0.50 s: 18.0 per second; per sentence 1.20 decoder passes, ...`
fn statistics(statistics: Statistics, elapsed: Duration) -> String {
    let Statistics { sentences, parts, passes, ids, mistakes, fallbacks } = statistics;
    let (seconds, each) = (elapsed.as_secs_f64(), |count: usize| count as f64 / sentences.max(1) as f64);
    let in_parts = if parts == sentences { String::new() } else { format!(" ({parts} parts)") };
    format!(
        "{sentences} sentences{in_parts} in {seconds:.2} s: {:.1} per second; per sentence {:.2} decoder passes, \
         {:.1} tokens and {:.2} wrong drafts; drafting was given up for {fallbacks} sentences",
        sentences as f64 / seconds,
        each(passes),
        each(ids),
        each(mistakes),
    )
}

/// A warning of a word that the model did not read: its number in the sentence, from 1, and its first characters.
fn unread(place: &Place, (number, word): (usize, &Word)) -> String {
    let (shown, length) = (word.text.chars().take(20).collect::<String>(), word.end - word.start);
    format!(
        "{place}: word {number} (`{}...`, {length} characters) takes more tokens than the tagger does: it was not read and \
         is tagged `O`",
        shown.escape_debug()
    )
}

/// Where records come from.
enum Source {
    Arguments(std::vec::IntoIter<Item>),
    Reading(Reading),
}

impl Source {
    fn new(args: &TagArgs, inputs: &[Input], console: &Console) -> Result<Self> {
        if !args.sentences.is_empty() {
            return Ok(Self::Arguments(inputs::arguments(&args.sentences).into_iter()));
        }
        if args.input.is_empty() && io::stdin().is_terminal() {
            console.note("reading sentences from the terminal, one per line");
        }
        Ok(Self::Reading(Reading::start(inputs.to_vec(), args.read_options())?))
    }

    fn batch(&mut self, size: usize, stop: &AtomicBool) -> Result<Vec<Item>> {
        match self {
            Self::Arguments(items) => Ok(items.by_ref().take(size).collect()),
            Self::Reading(reading) => reading.batch(size, stop),
        }
    }
}

/// Records so far.
#[derive(Debug, Default)]
struct Counts {
    records: usize,
    errors: usize,
    words_unfit: usize,
    /// Those whose tags are withheld.
    abstained: usize,
}

struct Work<'a> {
    tagger: &'a Tagger,
    console: &'a Console,
    output: Output<'a>,
    progress: Progress<'a>,
    counts: Counts,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// Tags each batch as its records arrive: memory is bounded, and a program that writes a line and waits gets an answer.
    fn run(mut self, mut source: Source) -> Result<Exit> {
        let (done, failed) = self.output.done();
        self.skip(&mut source, done)?;
        self.counts.errors = failed;
        loop {
            let batch = source.batch(self.tagger.window(), self.stop)?;
            if batch.is_empty() {
                break;
            }
            let position = batch.last().map_or(0, |item| item.position);
            for entry in entry::tag(self.tagger, batch, self.counts.records)? {
                self.entry(&entry)?;
            }
            self.output.flush(self.counts.records, self.counts.errors)?;
            self.progress.set(self.counts.records, position);
            if self.output.is_closed() || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(self.progress);
        let Counts { records, errors, words_unfit, abstained } = self.counts;
        if words_unfit > 0 {
            self.console.warn(format_args!(
                "{words_unfit} records have `tokens` that do not make up their text: the text was split into words instead"
            ));
        }
        if self.tagger.threshold().is_some() {
            self.console.note(format_args!("abstained on {abstained} of {records} records"));
        }
        if self.stop.load(Ordering::Relaxed) {
            self.console
                .requested(format_args!("interrupted after {records} records; {}", self.output.left()));
            self.output.interrupt()?;
            return Ok(Exit::Interrupted);
        }
        self.output.finish()?;
        if errors > 0 {
            self.console.note(format_args!("{errors} of {records} records could not be tagged"));
        }
        Ok(if failed > 0 { Exit::UserError } else { Exit::Success })
    }

    /// Passes over the records that an earlier call wrote.
    fn skip(&mut self, source: &mut Source, done: usize) -> Result<()> {
        if done > 0 {
            self.console.note(format_args!("continuing after {done} records"));
        }
        while self.counts.records < done {
            let size = self.tagger.window().min(done - self.counts.records);
            match source.batch(size, self.stop)?.len() {
                0 if self.stop.load(Ordering::Relaxed) => break,
                0 => anyhow::bail!(
                    "the input has {} records, but {done} were written already\n\
                     hint: use the same input, or remove the unfinished output to begin anew",
                    self.counts.records
                ),
                count => self.counts.records += count,
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.counts.records += 1;
        self.counts.words_unfit += usize::from(entry.words_unfit);
        self.counts.abstained += usize::from(entry.result.as_ref().is_ok_and(|tagged| tagged.abstained));
        match &entry.result {
            Err(failure) => {
                self.counts.errors += 1;
                self.console.error_at(&entry.place.to_string(), failure, Exit::UserError);
            }
            Ok(tagged) => {
                if !tagged.complete {
                    self.console.note(format_args!(
                        "{}: the target reached its maximum length: the last words may have no tags",
                        entry.place
                    ));
                }
                for word in tagged.unread.iter().filter_map(|at| Some((at + 1, tagged.words.get(*at)?))) {
                    self.console.warn(unread(&entry.place, word));
                }
            }
        }
        self.output.record(entry)
    }
}
