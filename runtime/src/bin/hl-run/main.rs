//! `hl-run`: tags sentences with an exported tagger.

mod args;
mod info;
mod lines;
mod report;

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use hyperloader_runtime::{ModelFile, SentenceError, Statistics, Tagged, Tagger, output};

use crate::args::{Args, OutputFormat};
use crate::lines::Lines;
use crate::report::Reporter;

const NOT_WRITTEN: &str = "cannot write to stdout";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return report::usage(&error),
    };
    let mut reporter = Reporter::new(args.quiet);
    match run(&args, &mut reporter) {
        Ok(()) => reporter.exit_code(),
        Err(error) => reporter.failed(&error),
    }
}

fn run(args: &Args, reporter: &mut Reporter) -> Result<()> {
    let file = ModelFile::open(&args.model)?;
    let mut printer = Printer::new(args.output_format);
    if args.info {
        return printer.line(&info::describe(&file, args.output_format));
    }
    let tagger = Tagger::new(file, &args.options())?;
    announce(&tagger, reporter);
    let began = Instant::now();
    match args.sentences.is_empty() {
        false => tag_arguments(&tagger, &args.sentences, &mut printer, reporter)?,
        true => tag_stdin(&tagger, &mut printer, reporter)?,
    }
    if args.stats {
        reporter.always(&statistics(tagger.statistics(), began.elapsed()));
    }
    Ok(())
}

/// `9 sentences in 0.50 s: 18.0 a second; 1.20 decoder passes, 40.2 tokens and 0.30 wrong drafts each; drafts of 3 were given up`
fn statistics(statistics: Statistics, elapsed: Duration) -> String {
    let Statistics { sentences, passes, ids, mistakes, fallbacks } = statistics;
    let (seconds, each) = (elapsed.as_secs_f64(), |count: usize| count as f64 / sentences.max(1) as f64);
    format!(
        "{sentences} sentences in {seconds:.2} s: {:.1} a second; {:.2} decoder passes, {:.1} tokens and \
         {:.2} wrong drafts each; drafts of {fallbacks} were given up",
        sentences as f64 / seconds,
        each(passes),
        each(ids),
        each(mistakes),
    )
}

fn announce(tagger: &Tagger, reporter: &Reporter) {
    for notice in tagger.backend().notices() {
        reporter.note(&notice);
    }
    reporter.note(&format!("backend: {}", tagger.backend().description()));
}

fn tag_arguments(
    tagger: &Tagger,
    sentences: &[String],
    printer: &mut Printer,
    reporter: &mut Reporter,
) -> Result<()> {
    let results = tagger.tag(sentences)?;
    for (number, result) in (1..).zip(results) {
        emit(&format!("argument {number}"), result, printer, reporter)?;
    }
    printer.flush()
}

/// Batch by batch as lines arrive, so that memory is bounded and whoever writes a line and waits gets an answer.
fn tag_stdin(tagger: &Tagger, printer: &mut Printer, reporter: &mut Reporter) -> Result<()> {
    if io::stdin().is_terminal() {
        reporter.note("reading sentences from the terminal, one a line");
    }
    let mut lines = Lines::new(io::stdin().lock());
    while let Some(batch) = lines.next_batch(tagger.window()).context("cannot read stdin")? {
        let texts: Vec<&str> = batch.iter().flat_map(|(_, line)| line.as_deref()).collect();
        let mut results = tagger.tag(&texts)?.into_iter();
        for (number, line) in &batch {
            let place = format!("<stdin>:{number}");
            match line {
                Err(error) => reporter.bad_line(&place, error),
                Ok(_) => {
                    if let Some(result) = results.next() {
                        emit(&place, result, printer, reporter)?;
                    }
                }
            }
        }
        printer.flush()?;
    }
    Ok(())
}

fn emit(
    place: &str,
    result: Result<Tagged, SentenceError>,
    printer: &mut Printer,
    reporter: &mut Reporter,
) -> Result<()> {
    match result {
        Ok(tagged) => {
            if !tagged.complete {
                reporter.note(&format!("{place}: the target did not end, last words may lack their tags"));
            }
            printer.tagged(&tagged)
        }
        Err(error) => {
            reporter.bad_line(place, &error);
            Ok(())
        }
    }
}

/// Writes results to stdout.
struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    format: OutputFormat,
    colour: bool,
    /// Whether a blank line must come before the next sentence for people.
    started: bool,
}

impl Printer {
    fn new(format: OutputFormat) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let stdout = io::stdout();
        let colour = stdout.is_terminal() && !plain;
        Self { out: BufWriter::new(stdout.lock()), format, colour, started: false }
    }

    fn tagged(&mut self, tagged: &Tagged) -> Result<()> {
        let blank = if self.started { "\n" } else { "" };
        self.started = true;
        match self.format {
            OutputFormat::Jsonl => self.write(&format!("{}\n", output::json(tagged))),
            OutputFormat::Text => self.write(&format!("{blank}{}", output::text(tagged, self.colour))),
        }
    }

    fn line(&mut self, text: &str) -> Result<()> {
        self.write(&format!("{text}\n"))?;
        self.flush()
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).context(NOT_WRITTEN)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.flush().context(NOT_WRITTEN)
    }
}
