//! The report of a run: `report.html` and `plots/*.png` in its folder.
//!
//! It is made only from files of the run folder (`manifest.json`, `config.toml`, `metrics.jsonl`, `outcome.json`, `calibration.json`), so you can
//! make it again at any time, also for an interrupted run.
//!
//! - [`write()`] writes the page and the plots.
//! - `facts`: the content of the run folder.
//! - [`history`]: the metrics of the run.
//! - `html`: the page.
//! - [`plots`]: the charts as SVG and PNG.
//! - `reliability`: how reliable scores are, before and after calibration.
//! - `error`: [`ReportError`].

mod error;
mod facts;
pub mod history;
mod html;
pub mod plots;
mod reliability;

use std::path::{Path, PathBuf};

use hyperloader_core::files::{FileError, write_atomic};

pub use self::error::ReportError;
use self::facts::Facts;
use self::plots::Axis;

/// The name of the page in the run folder.
pub const PAGE: &str = "report.html";

/// Writes `report.html` and `plots/*.png` into a run folder and returns the path of the page.
///
/// # Errors
/// If the folder holds no run, the run has no metrics, or a file cannot be read or written.
pub fn write(folder: &Path) -> Result<PathBuf, ReportError> {
    let facts = Facts::read(folder)?;
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).map_err(|e| FileError::new("create", &plots, e))?;
    for (name, axis) in [("loss.png", Axis::Loss), ("f1.png", Axis::F1)] {
        let png = facts.overview(axis).png()?;
        write_atomic(&plots.join(name), |w| w.write_all(&png))?;
    }
    let text = html::page(&facts)?;
    let page = folder.join(PAGE);
    write_atomic(&page, |w| w.write_all(text.as_bytes()))?;
    Ok(page)
}
