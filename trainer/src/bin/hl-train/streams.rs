//! Progress of reading the files of streamed tasks before their first training: a bar on a terminal, lines elsewhere.

use std::ops::ControlFlow;

use hyperloader_cli::{Console, Scope};
use hyperloader_trainer::data::{ReadProgress, ReadStage};
use indicatif::ProgressBar;

const TEMPLATE: &str = "{msg}  {bar}  {percent}%, {eta} left";

/// Prints which files of streamed tasks are read, and where their examples are stored.
#[derive(Debug)]
pub(crate) struct StreamProgress<'a> {
    console: &'a Console,
    /// That of the task whose sentences are being stored.
    bar: Option<ProgressBar>,
    /// While files are read, Ctrl-C asks to stop.
    scope: Option<Scope>,
}

impl<'a> StreamProgress<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, bar: None, scope: None }
    }

    /// Shows the progress, and breaks after Ctrl-C: a store that is being written has to be removed.
    pub(crate) fn show(&mut self, progress: &ReadProgress<'_>) -> ControlFlow<()> {
        let ReadProgress { task, files, store, stage } = progress;
        if self.scope.is_none() {
            // Without a handler, Ctrl-C ends the program at once.
            self.scope = Scope::stopping().ok();
        }
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
                // What comes next may not look at the flag.
                self.scope = None;
            }
        }
        match Scope::is_stopped() {
            true => {
                self.bar.take().iter().for_each(ProgressBar::finish_and_clear);
                ControlFlow::Break(())
            }
            false => ControlFlow::Continue(()),
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
