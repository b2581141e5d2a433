//! Tables 3 and 4 of the paper and the significance of their differences, as Markdown.

use std::fmt::Write as _;

use indicatif::HumanCount;

use super::format::{MISSING, markdown, percent};
use super::plan::{Budget, Plan, is_hyperloader};
use super::results::{Mean, Row};
use super::significance::Significance;

/// The rows of Table 4: variants of HyperLoader, and HyperFormer++, which is HyperLoader without LoRA.
pub(super) fn ablations(plan: &Plan, rows: &[Row]) -> Vec<Row> {
    let belongs = |name: &str| is_hyperloader(name) || name == "hyperformer++";
    let largest = plan.fractions.last();
    let methods: Vec<&str> =
        plan.methods.iter().filter(|m| belongs(&m.name)).map(|m| m.label.as_str()).collect();
    let rows = rows.iter().filter(|row| Some(&row.fraction) == largest);
    rows.filter(|row| methods.contains(&row.method.as_str())).cloned().collect()
}

/// Table 3: all methods at all fractions.
pub(super) fn table3(plan: &Plan, rows: &[Row], (done, runs): (usize, usize)) -> String {
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    let budget = match plan.budget {
        Budget::Equal => "all methods saw the same number of samples",
        Budget::Published => "each method saw the number of samples of its publication",
    };
    let mut text = format!(
        "# Table 3: test F1 of each method\n\nMicro-averaged span F1 on the test splits, mean ± standard deviation over seeds ({}); {budget}; {done} of {runs} runs are done. The best value of a column is bold.\n",
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
            cells.push(row.samples.map_or(MISSING.into(), |samples| HumanCount(samples).to_string()));
            cells.push(format!("{} of {}", row.seeds.len(), plan.seeds.len()));
        }
        text += &markdown(&header, &cells);
    }
    text
}

/// Table 4: ablations at the largest fraction.
pub(super) fn table4(plan: &Plan, rows: &[Row]) -> String {
    let whole = plan.methods.iter().find(|method| is_hyperloader(&method.name));
    let Some(whole) = whole.and_then(|method| rows.iter().find(|row| row.method == method.label)) else {
        return "# Table 4: ablations\n\nThe comparison has no variant of HyperLoader.\n".to_owned();
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
    let versus = format!("difference to {}", whole.method);
    text += &markdown(&["method", "mean", &versus, "trainable", "total", "ratio"], &cells);
    text
}

/// The numbers of trainable and of all parameters.
fn sizes(row: &Row) -> [String; 2] {
    match row.parameters {
        Some(parameters) => {
            [parameters.trainable, parameters.total].map(|count| HumanCount(count as u64).to_string())
        }
        None => [MISSING, MISSING].map(str::to_owned),
    }
}

/// Adds a column of scores. The best score is bold.
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

/// The significance tests, a table per task and fraction.
pub(super) fn significance(plan: &Plan, tests: &[Significance]) -> String {
    let mut text = format!(
        "# Significance\n\nIs the method of a row better than the method of a column? Each cell has the difference of their test F1 and, in brackets, p by the paired bootstrap (Berg-Kirkpatrick et al. 2012) with {} draws of test sentences. Runs are paired by seed. p below 0.05 is bold. It is not corrected for multiple tests.\n\np measures the effect of the choice of test sentences on these runs. The standard deviations of Table 3 measure the effect of the seed.\n",
        HumanCount(plan.resamples as u64)
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
