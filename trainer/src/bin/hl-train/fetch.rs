//! Progress of fetching a backbone: a bar for each file on a terminal, a line elsewhere.

use hyperloader_cli::Console;
use hyperloader_trainer::config::BackboneConfig;
use hyperloader_trainer::hub::{HubError, Located, Received};
use indicatif::{HumanBytes, ProgressBar};

const TEMPLATE: &str = "{msg}  {bar}  {percent}%  {bytes_per_sec}, {eta} left";

/// Finds the configured backbone, and fetches it if it is not on this machine.
pub(crate) fn locate(backbone: &BackboneConfig, console: &Console) -> Result<Located, HubError> {
    let model = backbone.id.clone().unwrap_or_default();
    let mut current: Option<(String, ProgressBar)> = None;
    backbone.locate(&mut |Received { file, bytes, size }| {
        let (_, bar) = match current.take() {
            Some((shown, bar)) if shown == file => current.insert((shown, bar)),
            _ => {
                let line = format!("fetching `{file}` of `{model}`, {}", HumanBytes(size));
                if !console.shows_bars() {
                    console.note(&line);
                }
                let bar = console.bar(size, TEMPLATE).with_message(line);
                current.insert((file.to_owned(), bar))
            }
        };
        bar.set_position(bytes);
        if bytes == size {
            bar.abandon();
        }
    })
}
