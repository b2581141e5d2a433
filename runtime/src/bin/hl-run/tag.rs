//! Plain `hl-run`: tags sentences from the arguments or from stdin.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hyperloader_cli::{Console, Exit, Records};
use hyperloader_runtime::{ModelFile, SentenceError, Statistics, Tagged, Tagger, Threshold};

use crate::args::TagArgs;
use crate::format;
use crate::lines::Lines;

pub(crate) fn run(args: &TagArgs, console: &Console) -> Result<()> {
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
    let mut printer = Printer { console, records: Records::new(console, args.output_format), abstained: 0 };
    match args.sentences.is_empty() {
        false => tag_arguments(&tagger, &args.sentences, &mut printer)?,
        true => tag_stdin(&tagger, &mut printer)?,
    }
    if tagger.threshold().is_some() {
        let (abstained, all) = (printer.abstained, printer.records.written());
        console.note(format_args!("abstained on {abstained} of {all} sentences"));
    }
    printer.records.finish()?;
    if args.stats {
        console.requested(statistics(tagger.statistics(), began.elapsed()));
    }
    Ok(())
}

/// `9 sentences in 0.50 s: 18.0 per second; per sentence 1.20 decoder passes, ...`
fn statistics(statistics: Statistics, elapsed: Duration) -> String {
    let Statistics { sentences, passes, ids, mistakes, fallbacks } = statistics;
    let (seconds, each) = (elapsed.as_secs_f64(), |count: usize| count as f64 / sentences.max(1) as f64);
    format!(
        "{sentences} sentences in {seconds:.2} s: {:.1} per second; per sentence {:.2} decoder passes, {:.1} tokens \
         and {:.2} wrong drafts; drafting was given up for {fallbacks} sentences",
        sentences as f64 / seconds,
        each(passes),
        each(ids),
        each(mistakes),
    )
}

fn tag_arguments(tagger: &Tagger, sentences: &[String], printer: &mut Printer<'_>) -> Result<()> {
    let results = tagger.tag(sentences)?;
    (1..).zip(results).try_for_each(|(number, result)| printer.result(&format!("argument {number}"), result))
}

/// Tags each batch as its lines arrive: memory is bounded, and a program that writes a line and waits gets an answer.
fn tag_stdin(tagger: &Tagger, printer: &mut Printer<'_>) -> Result<()> {
    if io::stdin().is_terminal() {
        printer.console.note("reading sentences from the terminal, one per line");
    }
    let mut lines = Lines::new(io::stdin().lock());
    while let Some(batch) = lines.next_batch(tagger.window()).context("cannot read stdin")? {
        let texts: Vec<&str> = batch.iter().flat_map(|(_, line)| line.as_deref()).collect();
        let mut results = tagger.tag(&texts)?.into_iter();
        for (number, line) in &batch {
            let place = format!("<stdin>:{number}");
            match line {
                Err(error) => printer.console.error_at(&place, error, Exit::UserError),
                Ok(_) => results.next().map_or(Ok(()), |result| printer.result(&place, result))?,
            }
        }
        printer.console.flush()?;
        if printer.console.is_closed() {
            break;
        }
    }
    Ok(())
}

/// Prints results, and the errors of sentences that could not be tagged.
struct Printer<'a> {
    console: &'a Console,
    records: Records<'a>,
    /// Number of sentences whose tags are withheld.
    abstained: usize,
}

impl Printer<'_> {
    fn result(&mut self, place: &str, result: Result<Tagged, SentenceError>) -> Result<()> {
        let tagged = match result {
            Ok(tagged) => tagged,
            Err(error) => {
                self.console.error_at(place, &error, Exit::UserError);
                return Ok(());
            }
        };
        if !tagged.complete {
            self.console.note(format_args!(
                "{place}: the target reached its maximum length: the last words may have no tags"
            ));
        }
        self.abstained += usize::from(tagged.abstained);
        let blank = if self.records.written() > 0 { "\n" } else { "" };
        let text = || format!("{blank}{}", format::text(&tagged, true).trim_end_matches('\n'));
        self.records.write_with(|| Ok(format::json(&tagged)), text)
    }
}
