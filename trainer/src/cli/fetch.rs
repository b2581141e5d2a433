//! How the fetch of a backbone looks: a bar for each file on a terminal, a line elsewhere.
#![allow(clippy::print_stderr)] // Progress goes to stderr.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::BackboneConfig;
use crate::hub::{HubError, Located, Received};
use crate::progress::Verbosity;

/// The configured backbone, fetched in sight of the user unless it is at hand.
pub(super) fn locate(
    backbone: &BackboneConfig,
    verbosity: Verbosity,
    bar: bool,
) -> Result<Located, HubError> {
    let model = backbone.id.clone().unwrap_or_default();
    let mut current: Option<(String, ProgressBar)> = None;
    backbone.locate(&mut |Received { file, bytes, size }| {
        if verbosity == Verbosity::Quiet {
            return;
        }
        let (_, progress) = match current.take() {
            Some((shown, progress)) if shown == file => current.insert((shown, progress)),
            _ => {
                let line = format!("fetching `{file}` of `{model}`, {}", HumanBytes(size));
                if !bar {
                    eprintln!("{line}");
                }
                current.insert((file.to_owned(), new_bar(line, size, bar)))
            }
        };
        progress.set_position(bytes);
        if bytes == size {
            progress.abandon();
        }
    })
}

fn new_bar(message: String, size: u64, shown: bool) -> ProgressBar {
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(size), target).with_message(message);
    let style = ProgressStyle::with_template("{msg}  {bar:30} {percent}%  {bytes_per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
