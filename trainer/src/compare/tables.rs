//! Tables 3 and 4 and the significance of their differences, as Markdown for people and CSV for programs.

use std::fmt::Write as _;

use hyperloader_core::files::{FileError, write_atomic};
use serde::Serialize;

use super::plan::is_hyperloader;
use super::results::{Mean, Results, Row};
use super::significance::{Significance, test_all};
use super::{Budget, CompareError, Plan, figure};

/// What a missing value looks like.
const MISSING: &str = "-";

/// All that a comparison shows.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Runs that are done.
    pub done: usize,
    /// Runs in all.
    pub runs: usize,
    /// Table 3: all methods at all fractions.
    pub table3: Vec<Row>,
    /// Table 4: HyperLoader, its ablations and HyperFormer++ at the largest fraction.
    pub table4: Vec<Row>,
    /// Each method against each other one, by fraction and task.
    pub significance: Vec<Significance>,
    /// The tables of the first two as text.
    #[serde(skip)]
    pub markdown: String,
}

/// Writes `table3`, `table4`, `significance` (Markdown and CSV) and `figure2` (PNG and CSV) into the comparison's
/// folder.
///
/// # Errors
/// If the figure cannot be drawn or a file not be written.
pub fn write(results: &Results) -> Result<Report, CompareError> {
    let plan = results.plan();
    let (done, runs) = results.progress();
    // The paper's own table first: that of the largest fraction.
    let table3: Vec<Row> = plan.fractions.iter().rev().flat_map(|share| results.rows(*share)).collect();
    let table4 = ablations(plan, &table3);
    let significance: Vec<Significance> =
        plan.fractions.iter().rev().flat_map(|share| test_all(results, *share)).collect();
    let texts = [table3_text(plan, &table3, (done, runs)), table4_text(plan, &table4)];
    let markdown = texts.join("\n");
    let [table3_markdown, table4_markdown] = texts;
    for (name, text) in [
        ("table3.md", table3_markdown),
        ("table3.csv", table3_csv(plan, &table3)),
        ("table4.md", table4_markdown),
        ("table4.csv", table4_csv(&table4)),
        ("significance.md", significance_text(plan, &significance)),
        ("significance.csv", significance_csv(&significance)),
        ("figure2.csv", figure_csv(&table3)),
    ] {
        put(plan, name, text.as_bytes())?;
    }
    put(plan, "figure2.png", &figure::png(results)?)?;
    Ok(Report { done, runs, table3, table4, significance, markdown })
}

fn put(plan: &Plan, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    write_atomic(&plan.out.join(name), |w| w.write_all(bytes))
}

/// Rows of Table 4: HyperFormer++ is HyperLoader without LoRA.
fn ablations(plan: &Plan, rows: &[Row]) -> Vec<Row> {
    let belongs = |name: &str| is_hyperloader(name) || name == "hyperformer++";
    let largest = plan.fractions.last();
    let methods: Vec<&str> =
        plan.methods.iter().filter(|m| belongs(&m.name)).map(|m| m.label.as_str()).collect();
    let rows = rows.iter().filter(|row| Some(&row.fraction) == largest);
    rows.filter(|row| methods.contains(&row.method.as_str())).cloned().collect()
}

fn table3_text(plan: &Plan, rows: &[Row], (done, runs): (usize, usize)) -> String {
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    let budget = match plan.budget {
        Budget::Equal => "all methods saw as many samples",
        Budget::Published => "each method saw as many samples as in its publication",
    };
    let mut text = format!(
        "# Table 3: test F1 of each method\n\nMicro-averaged span F1 on the test splits, mean ± standard deviation over seeds ({}); {budget}; {done} of {runs} runs are done. The best of a column is bold.\n",
        seeds.join(", ")
    );
    let tasks = plan.tasks();
    let mut header = vec!["method"];
    header.extend(&tasks);
    header.extend(["mean", "trainable", "total", "samples", "runs"]);
    for rows in rows.chunk_by(|a, b| a.fraction == b.fraction) {
        let _ = write!(text, "\n## {} of the training sentences\n\n", percent(rows[0].fraction));
        let mut cells: Vec<Vec<String>> = rows.iter().map(|row| vec![row.method.clone()]).collect();
        for task in &tasks {
            add_column(&mut cells, rows, |row| row.tasks.get(*task).copied());
        }
        add_column(&mut cells, rows, |row| row.mean);
        for (cells, row) in cells.iter_mut().zip(rows) {
            cells.extend(sizes(row));
            cells.push(row.samples.map_or(MISSING.into(), |samples| thousands(samples as usize)));
            cells.push(format!("{} of {}", row.seeds.len(), plan.seeds.len()));
        }
        text += &markdown(&header, &cells);
    }
    text
}

fn table4_text(plan: &Plan, rows: &[Row]) -> String {
    let whole = plan.methods.iter().find(|method| is_hyperloader(&method.name));
    let Some(whole) = whole.and_then(|method| rows.iter().find(|row| row.method == method.label)) else {
        return "# Table 4: ablations\n\nNo variant of HyperLoader is compared.\n".to_owned();
    };
    let mut text = format!(
        "# Table 4: ablations\n\nMean of the tasks' test F1 with {} of the training sentences.\n\n",
        percent(whole.fraction)
    );
    let mut cells: Vec<Vec<String>> = rows.iter().map(|row| vec![row.method.clone()]).collect();
    add_column(&mut cells, rows, |row| row.mean);
    for (cells, row) in cells.iter_mut().zip(rows) {
        let difference = row.mean.zip(whole.mean).map(|(mean, whole)| mean.mean - whole.mean);
        cells.push(difference.map_or(MISSING.into(), |difference| format!("{difference:+.4}")));
        cells.extend(sizes(row));
        let ratio = row.parameters.map(|p| 100.0 * p.trainable as f64 / p.total as f64);
        cells.push(ratio.map_or(MISSING.into(), |ratio| format!("{ratio:.4} %")));
    }
    let versus = format!("against {}", whole.method);
    text += &markdown(&["method", "mean", &versus, "trainable", "total", "ratio"], &cells);
    text
}

/// Trainable and total parameters.
fn sizes(row: &Row) -> [String; 2] {
    match row.parameters {
        Some(parameters) => [parameters.trainable, parameters.total].map(thousands),
        None => [MISSING, MISSING].map(str::to_owned),
    }
}

/// Adds a column of scores, the best of them bold.
fn add_column(cells: &mut [Vec<String>], rows: &[Row], value: impl Fn(&Row) -> Option<Mean>) {
    let best = rows.iter().filter_map(&value).map(|mean| mean.mean).reduce(f64::max);
    for (cells, row) in cells.iter_mut().zip(rows) {
        cells.push(match value(row) {
            None => MISSING.to_owned(),
            Some(mean) if Some(mean.mean) == best && rows.len() > 1 => format!("**{}**", score(mean)),
            Some(mean) => score(mean),
        });
    }
}

fn score(Mean { mean, deviation }: Mean) -> String {
    match deviation {
        Some(deviation) => format!("{mean:.4} ± {deviation:.4}"),
        None => format!("{mean:.4}"),
    }
}

fn significance_text(plan: &Plan, tests: &[Significance]) -> String {
    let mut text = format!(
        "# Significance\n\nIs the method of a row better than that of a column? Difference of test F1, and in brackets p by the paired bootstrap (Berg-Kirkpatrick et al. 2012) with {} draws of test sentences, runs paired by seed. A p below 0.05 is bold; it is of one test, not corrected for many.\n\np tells what the choice of test sentences explains, for these very runs; how much seeds differ is told by the deviations of Table 3.\n",
        thousands(plan.resamples)
    );
    let labels: Vec<&str> = plan.methods.iter().map(|method| method.label.as_str()).collect();
    let mut header = vec![""];
    header.extend(&labels);
    for tests in tests.chunk_by(|a, b| a.fraction == b.fraction && a.task == b.task) {
        let what = tests[0].task.as_deref().unwrap_or("mean of the tasks");
        let _ = write!(text, "\n## {what}, {} of the training sentences\n\n", percent(tests[0].fraction));
        let cell = |method: &str, than: &str| {
            let test = tests.iter().find(|test| test.method == method && test.than == than);
            test.map_or(MISSING.to_owned(), |test| verdict(test, plan.resamples))
        };
        let row = |method: &&str| {
            let cells = labels.iter().map(|than| cell(method, than));
            std::iter::once((*method).to_owned()).chain(cells).collect()
        };
        text += &markdown(&header, &labels.iter().map(row).collect::<Vec<_>>());
    }
    text
}

fn verdict(test: &Significance, draws: usize) -> String {
    let p = match test.p {
        0.0 => format!("p < {}", 1.0 / draws as f64),
        p => format!("p = {p:.4}"),
    };
    match test.p < 0.05 {
        true => format!("{:+.4} (**{p}**)", test.difference),
        false => format!("{:+.4} ({p})", test.difference),
    }
}

fn table3_csv(plan: &Plan, rows: &[Row]) -> String {
    let mut header: Vec<String> =
        ["fraction", "method", "trainable_params", "total_params", "samples", "runs"]
            .map(str::to_owned)
            .into();
    let tasks = plan.tasks();
    for column in tasks.iter().copied().chain(["mean"]) {
        header.extend([column.to_owned(), format!("{column}_sd")]);
    }
    let line = |row: &Row| {
        let mut line = vec![row.fraction.to_string(), row.method.clone()];
        line.extend(counts(row));
        line.push(optional(row.samples));
        line.push(row.seeds.len().to_string());
        tasks.iter().for_each(|task| line.extend(mean_fields(row.tasks.get(*task).copied())));
        line.extend(mean_fields(row.mean));
        line
    };
    csv(&header, rows.iter().map(line))
}

fn table4_csv(rows: &[Row]) -> String {
    let header = ["method", "mean", "mean_sd", "trainable_params", "total_params", "runs"].map(str::to_owned);
    let line = |row: &Row| {
        let mut line = vec![row.method.clone()];
        line.extend(mean_fields(row.mean));
        line.extend(counts(row));
        line.push(row.seeds.len().to_string());
        line
    };
    csv(&header, rows.iter().map(line))
}

fn figure_csv(rows: &[Row]) -> String {
    let header = ["method", "fraction", "mean", "mean_sd"].map(str::to_owned);
    let line = |row: &Row| {
        let [mean, deviation] = mean_fields(row.mean);
        vec![row.method.clone(), row.fraction.to_string(), mean, deviation]
    };
    csv(&header, rows.iter().map(line))
}

fn significance_csv(tests: &[Significance]) -> String {
    let header = ["fraction", "task", "method", "than", "seeds", "difference", "p"].map(str::to_owned);
    let line = |test: &Significance| {
        let task = test.task.clone().unwrap_or("mean".to_owned());
        let numbers = [test.seeds.to_string(), test.difference.to_string(), test.p.to_string()];
        let mut line = vec![test.fraction.to_string(), task, test.method.clone(), test.than.clone()];
        line.extend(numbers);
        line
    };
    csv(&header, tests.iter().map(line))
}

fn counts(row: &Row) -> [String; 2] {
    [optional(row.parameters.map(|p| p.trainable)), optional(row.parameters.map(|p| p.total))]
}

fn mean_fields(mean: Option<Mean>) -> [String; 2] {
    [optional(mean.map(|mean| mean.mean)), optional(mean.and_then(|mean| mean.deviation))]
}

/// Empty where there is no value.
fn optional(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// Lines of fields (RFC 4180).
fn csv(header: &[String], lines: impl Iterator<Item = Vec<String>>) -> String {
    let quoted = |field: &String| match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.clone(),
    };
    let line = |fields: Vec<String>| fields.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    std::iter::once(header.to_vec()).chain(lines).map(line).collect()
}

/// A table whose columns line up in plain text, too; all but the first are aligned right.
fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    // A bar in a label would end its cell.
    let escaped = |cell: &str| cell.replace('|', "\\|");
    let header: Vec<String> = header.iter().map(|cell| escaped(cell)).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let chars = |cell: &String| cell.chars().count();
    let width = |column: usize| {
        let cells = std::iter::once(&header).chain(&rows).filter_map(|row| row.get(column));
        cells.map(chars).max().unwrap_or(0).max(2)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &[String]| {
        let mut line = String::from("|");
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(line, " {cell:<width$} |"),
                _ => write!(line, " {cell:>width$} |"),
            };
        }
        line + "\n"
    };
    let rule: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width - 1) + ":",
        })
        .collect();
    line(&header) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// A share for people: `12.5 %`.
pub(super) fn percent(fraction: f64) -> String {
    // Nine digits hide that 0.07 * 100 is 7.000000000000001.
    format!("{} %", (fraction * 1e11).round() / 1e9)
}

/// A number with a comma before each three digits.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_are_plain() {
        assert_eq!([0, 12, 1_234, 6_784_368].map(thousands), ["0", "12", "1,234", "6,784,368"]);
        assert_eq!([1.0, 0.1, 0.07, 0.125].map(percent), ["100 %", "10 %", "7 %", "12.5 %"]);
    }

    #[test]
    fn cells_that_would_break_a_table_are_escaped() {
        let text = markdown(&["m", "x"], &[vec!["a|b".into(), "1".into()]]);
        assert_eq!(text, "| m    |  x |\n| ---- | -: |\n| a\\|b |  1 |\n");
        let header = ["m".to_owned(), "x".to_owned()];
        let text = csv(&header, std::iter::once(vec!["a, \"b\"".to_owned(), "1".to_owned()]));
        assert_eq!(text, "m,x\n\"a, \"\"b\"\"\",1\n");
    }
}
