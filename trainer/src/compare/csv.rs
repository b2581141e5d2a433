//! The tables of a comparison as CSV (RFC 4180).

use csv::Writer;

use super::plan::Plan;
use super::results::{Mean, Row};
use super::significance::Significance;

/// The bytes of a CSV file.
pub(super) type Csv = Result<Vec<u8>, csv::Error>;

/// Table 3: all methods at all fractions.
pub(super) fn table3(plan: &Plan, rows: &[Row]) -> Csv {
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
    write(&header, rows.iter().map(line))
}

/// Table 4: ablations at the largest fraction.
pub(super) fn table4(rows: &[Row]) -> Csv {
    let header = ["method", "mean", "mean_sd", "trainable_params", "total_params", "runs"].map(str::to_owned);
    let line = |row: &Row| {
        let mut line = vec![row.method.clone()];
        line.extend(mean_fields(row.mean));
        line.extend(counts(row));
        line.push(row.seeds.len().to_string());
        line
    };
    write(&header, rows.iter().map(line))
}

/// Figure 2: the mean of the tasks by method and fraction.
pub(super) fn figure2(rows: &[Row]) -> Csv {
    let header = ["method", "fraction", "mean", "mean_sd"].map(str::to_owned);
    let line = |row: &Row| {
        let [mean, deviation] = mean_fields(row.mean);
        vec![row.method.clone(), row.fraction.to_string(), mean, deviation]
    };
    write(&header, rows.iter().map(line))
}

/// The significance tests.
pub(super) fn significance(tests: &[Significance]) -> Csv {
    let header = ["fraction", "task", "method", "than", "seeds", "difference", "p"].map(str::to_owned);
    let line = |test: &Significance| {
        let task = test.task.clone().unwrap_or("mean".to_owned());
        let numbers = [test.seeds.to_string(), test.difference.to_string(), test.p.to_string()];
        let mut line = vec![test.fraction.to_string(), task, test.method.clone(), test.than.clone()];
        line.extend(numbers);
        line
    };
    write(&header, tests.iter().map(line))
}

fn write(header: &[String], lines: impl Iterator<Item = Vec<String>>) -> Csv {
    let mut writer = Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for line in lines {
        writer.write_record(line)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn counts(row: &Row) -> [String; 2] {
    [optional(row.parameters.map(|p| p.trainable)), optional(row.parameters.map(|p| p.total))]
}

fn mean_fields(mean: Option<Mean>) -> [String; 2] {
    [optional(mean.map(|mean| mean.mean)), optional(mean.and_then(|mean| mean.deviation))]
}

/// A missing value is an empty field.
fn optional(value: Option<impl ToString>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_would_break_a_line_are_quoted() {
        let header = ["m".to_owned(), "x".to_owned()];
        let text = write(&header, std::iter::once(vec!["a, \"b\"".to_owned(), "1".to_owned()])).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "m,x\n\"a, \"\"b\"\"\",1\n");
    }
}
