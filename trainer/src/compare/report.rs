//! All results of a comparison, written to its folder.

use hyperloader_core::files::{FileError, write_atomic};
use serde::Serialize;

use super::error::CompareError;
use super::plan::Plan;
use super::results::{Results, Row};
use super::significance::{Significance, test_all};
use super::{csv, figure, tables};

/// The results of a comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The number of finished runs.
    pub done: usize,
    /// The number of all runs.
    pub runs: usize,
    /// Table 3: all methods at all fractions.
    pub table3: Vec<Row>,
    /// Table 4: HyperLoader, its ablations and HyperFormer++ at the largest fraction.
    pub table4: Vec<Row>,
    /// The test of each ordered pair of methods, by fraction and task.
    pub significance: Vec<Significance>,
    /// Tables 3 and 4 as Markdown.
    #[serde(skip)]
    pub markdown: String,
}

/// Writes `table3`, `table4` and `significance` (Markdown and CSV) and `figure2` (PNG and CSV) into the folder of the
/// comparison.
///
/// # Errors
/// If the figure cannot be drawn or a file cannot be written.
pub fn write(results: &Results) -> Result<Report, CompareError> {
    let plan = results.plan();
    let (done, runs) = results.progress();
    // The largest fraction first: that is the table of the paper.
    let table3: Vec<Row> = plan.fractions.iter().rev().flat_map(|share| results.rows(*share)).collect();
    let table4 = tables::ablations(plan, &table3);
    let significance: Vec<Significance> =
        plan.fractions.iter().rev().flat_map(|share| test_all(results, *share)).collect();
    let texts = [tables::table3(plan, &table3, (done, runs)), tables::table4(plan, &table4)];
    let markdown = texts.join("\n");
    let [table3_markdown, table4_markdown] = texts;
    for (name, text) in [
        ("table3.md", table3_markdown),
        ("table4.md", table4_markdown),
        ("significance.md", tables::significance(plan, &significance)),
    ] {
        put(plan, name, text.as_bytes())?;
    }
    for (name, bytes) in [
        ("table3.csv", csv::table3(plan, &table3)),
        ("table4.csv", csv::table4(&table4)),
        ("significance.csv", csv::significance(&significance)),
        ("figure2.csv", csv::figure2(&table3)),
    ] {
        let path = plan.out.join(name);
        put(plan, name, &bytes.map_err(|e| FileError::new("write", &path, e.into()))?)?;
    }
    put(plan, "figure2.png", &figure::png(results)?)?;
    Ok(Report { done, runs, table3, table4, significance, markdown })
}

fn put(plan: &Plan, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(&plan.out.join(name), |w| w.write_all(bytes))
}
