//! Progress of reading the files of streamed tasks before their first training: a bar on a terminal, two lines elsewhere.

use hyperloader_cli::Console;
use hyperloader_trainer::config::Config;
use hyperloader_trainer::data::Reading;
use hyperloader_trainer::train::{TrainError, Training};
use indicatif::ProgressBar;

const TEMPLATE: &str = "{msg}  {bar}  {percent}%, {eta} left";

/// Reads the files of streamed tasks that no training has read yet.
pub(crate) fn read(config: &Config, console: &Console) -> Result<(), TrainError> {
    let mut current: Option<ProgressBar> = None;
    Training::read_streams(config, &mut |Reading { task, files, sentences, done }| {
        let Some(sentences) = sentences else {
            let what = if files == 1 { "1 file" } else { &format!("{files} files") };
            console.note(format_args!("task `{task}`: counting the sentences of {what}"));
            current = None;
            return;
        };
        let bar = current.get_or_insert_with(|| {
            let line = format!("task `{task}`: storing {sentences} sentences as ids");
            if !console.shows_bars() {
                console.note(&line);
            }
            console.bar(sentences as u64, TEMPLATE).with_message(line)
        });
        bar.set_position(done as u64);
        if done == sentences {
            bar.abandon();
        }
    })
}
