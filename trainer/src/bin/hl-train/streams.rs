//! Progress of reading the files of streamed tasks before their first training: a bar on a terminal, lines elsewhere.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use hyperloader_cli::{Console, stop_on_interrupt};
use hyperloader_trainer::data::{ReadProgress, ReadStage};
use indicatif::ProgressBar;

const TEMPLATE: &str = "{msg}  {bar}  {percent}%, {eta} left";

/// Prints which files of streamed tasks are read, and where their examples are stored.
#[derive(Debug)]
pub(crate) struct StreamProgress<'a> {
    console: &'a Console,
    /// That of the task whose sentences are being stored.
    bar: Option<ProgressBar>,
}

impl<'a> StreamProgress<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, bar: None }
    }

    /// Shows the progress, and breaks after Ctrl-C: a store that is being written has to be removed.
    pub(crate) fn show(&mut self, progress: &ReadProgress<'_>) -> ControlFlow<()> {
        let ReadProgress { task, files, store, stage } = progress;
        match *stage {
            ReadStage::Counting { records: 0 } => {
                let what = if *files == 1 { "1 file" } else { &format!("{files} files") };
                self.console.note(format_args!("task `{task}`: counting the sentences of {what}"));
            }
            ReadStage::Counting { .. } => {}
            ReadStage::Storing { done, sentences } => self.storing(task, done, sentences),
            ReadStage::Stored => {
                self.bar.take().iter().for_each(ProgressBar::finish_and_clear);
                self.console.note(format_args!("task `{task}`: stored in `{}`", store.display()));
            }
        }
        // Without a handler, Ctrl-C ends the program at once.
        match stop_on_interrupt() {
            Ok(stop) if stop.load(Ordering::Relaxed) => {
                self.bar.take().iter().for_each(ProgressBar::finish_and_clear);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn storing(&mut self, task: &str, done: usize, sentences: usize) {
        let bar = self.bar.get_or_insert_with(|| {
            let line = format!("task `{task}`: storing {sentences} sentences as ids");
            if !self.console.shows_bars() {
                self.console.note(&line);
            }
            self.console.bar(sentences as u64, TEMPLATE).with_message(line)
        });
        bar.set_position(done as u64);
    }
}
