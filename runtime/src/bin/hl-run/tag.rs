//! Plain `hl-run`: tags the records of arguments, files and stdin.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hyperloader_cli::{Console, Exit, stop_on_interrupt};
use hyperloader_runtime::{Statistics, Tagged, Tagger, TaggerMetadata, Unit, Word};
use serde_json::json;

use crate::args::TagArgs;
use crate::entry::{self, Entry};
use crate::inputs::{self, Input, Item, Place, Reading};
use crate::models::{self, named};
use crate::output::{Output, target};
use crate::partial::{Task, stamp};
use crate::progress::Progress;
use crate::values::InputFormat;

pub(crate) fn run(args: &TagArgs, console: &Console) -> Result<Exit> {
    let inputs = check(args)?;
    // What is wrong with input and output is said before a model is opened.
    let target = target(args, &inputs)?;
    let stop = stop_on_interrupt()?;
    let taggers = models::open(args, console)?;
    let tasks: Vec<&TaggerMetadata> = taggers.iter().map(Tagger::metadata).collect();
    let began = Instant::now();
    let format = target.format;
    let task = || task(args, &inputs, &tasks, &format.name());
    let output = target.open(args, &inputs, &tasks, console, task)?;
    let visible = args.output.is_none() && io::stdout().is_terminal();
    let progress = Progress::new(console, &inputs, visible || !args.sentences.is_empty());
    let source = Source::new(args, &inputs, console)?;
    let counts = Counts { withheld: vec![Withheld::default(); taggers.len()], ..Counts::default() };
    let work = Work { taggers: &taggers, console, output, progress, counts, stop };
    let exit = work.run(source)?;
    if args.stats {
        for tagger in &taggers {
            let statistics = statistics(tagger.statistics(), began.elapsed());
            console.requested(format_args!("{}{statistics}", named(taggers.len() > 1, tagger.metadata())));
        }
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
fn task(args: &TagArgs, inputs: &[Input], models: &[&TaggerMetadata], format: &str) -> Task {
    let of_models =
        |of: fn(&TaggerMetadata) -> &String| models.iter().map(|model| of(model)).collect::<Vec<_>>();
    let pairs = [
        ("tasks", json!(of_models(|model| &model.task))),
        ("checkpoints", json!(of_models(|model| &model.checkpoint_sha256))),
        ("output format", json!(format)),
        ("options", json!(args.settings())),
        ("arguments", json!(args.sentences)),
        ("inputs", json!(inputs.iter().map(Input::name).collect::<Vec<_>>())),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value)).into_iter();
    let files = inputs.iter().filter_map(Input::path).chain(args.models.iter().map(PathBuf::as_path));
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
fn unread(number: usize, word: &Word) -> String {
    let (shown, length) = (word.text.chars().take(20).collect::<String>(), word.end - word.start);
    format!(
        "word {number} (`{}...`, {length} characters) takes more tokens than the tagger does: it was not read and \
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

/// What a model withheld so far.
#[derive(Debug, Clone, Copy, Default)]
struct Withheld {
    /// Sentences whose tags are withheld.
    sentences: usize,
    /// Spans that are given out.
    given: usize,
    /// Spans that are withheld.
    spans: usize,
}

/// Records so far.
#[derive(Debug, Default)]
struct Counts {
    records: usize,
    errors: usize,
    words_unfit: usize,
    /// What is withheld, of each model.
    withheld: Vec<Withheld>,
}

struct Work<'a> {
    taggers: &'a [Tagger],
    console: &'a Console,
    output: Output<'a>,
    progress: Progress<'a>,
    counts: Counts,
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// Tags each batch as its records arrive: memory is bounded, and a program that writes a line and waits gets an answer.
    fn run(mut self, mut source: Source) -> Result<Exit> {
        // All taggers have the same options.
        let window = self.taggers.first().map_or(1, Tagger::window);
        let (done, failed) = self.output.done();
        self.skip(&mut source, window, done)?;
        self.counts.errors = failed;
        loop {
            let batch = source.batch(window, self.stop)?;
            if batch.is_empty() {
                break;
            }
            let position = batch.last().map_or(0, |item| item.position);
            for entry in entry::tag(self.taggers, batch, self.counts.records)? {
                self.entry(&entry)?;
            }
            self.output.flush(self.counts.records, self.counts.errors)?;
            self.progress.set(self.counts.records, position);
            if self.output.is_closed() || self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        drop(self.progress);
        let Counts { records, errors, words_unfit, withheld } = self.counts;
        if words_unfit > 0 {
            self.console.warn(format_args!(
                "{words_unfit} records have `tokens` that do not make up their text: the text was split into words instead"
            ));
        }
        // An earlier call, which this one continues, has said what it withheld.
        let now = if done > 0 { " in this call" } else { "" };
        let tagged = (records - errors).saturating_sub(done - failed);
        for (tagger, Withheld { sentences, given, spans }) in self.taggers.iter().zip(withheld) {
            let named = named(self.taggers.len() > 1, tagger.metadata());
            match tagger.threshold().map(|threshold| threshold.of) {
                Some(Unit::Sentences) => {
                    self.console
                        .note(format_args!("{named}abstained on {sentences} of {tagged} records{now}"));
                }
                Some(Unit::Spans) => {
                    self.console
                        .note(format_args!("{named}withheld {spans} of {} spans{now}", given + spans));
                }
                None => {}
            }
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
    fn skip(&mut self, source: &mut Source, window: usize, done: usize) -> Result<()> {
        if done > 0 {
            self.console.note(format_args!("continuing after {done} records"));
        }
        while self.counts.records < done {
            let size = window.min(done - self.counts.records);
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
        match &entry.result {
            Err(failure) => {
                self.counts.errors += 1;
                self.console.error_at(&entry.place.to_string(), failure, Exit::UserError);
            }
            Ok(models) => {
                for (at, tagged) in models.iter().enumerate() {
                    self.tagged(&entry.place, at, tagged);
                }
            }
        }
        self.output.record(entry)
    }

    /// Counts what the model `at` found, and says what of it may be missing.
    fn tagged(&mut self, place: &Place, at: usize, tagged: &Tagged) {
        let several = self.taggers.len() > 1;
        let named = self.taggers.get(at).map(|tagger| named(several, tagger.metadata())).unwrap_or_default();
        if let Some(withheld) = self.counts.withheld.get_mut(at) {
            withheld.sentences += usize::from(tagged.abstained);
            withheld.given += tagged.spans.len();
            withheld.spans += tagged.withheld;
        }
        if !tagged.complete {
            self.console.note(format_args!(
                "{place}: {named}the target reached its maximum length: the last words may have no tags"
            ));
        }
        for (at, word) in tagged.unread.iter().filter_map(|at| Some((at + 1, tagged.words.get(*at)?))) {
            self.console.warn(format_args!("{place}: {named}{}", unread(at, word)));
        }
    }
}
