//! The summary of an export: the file and its weights by part, as text for people and as data for programs.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::cost::Cost;
use crate::precision::Precision;
use crate::precision::content::FileGraph;
use crate::verify::Ladder;
use crate::weights::Part;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// Name of the task.
    pub task: String,
    /// Element type of the large matrices.
    pub precision: Precision,
    /// Path of the file.
    pub file: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// The file beside it that holds the large weights, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Files with weights of earlier models of this name, which are still there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_data: Vec<PathBuf>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Name of the run that the weights come from.
    pub run: String,
    /// Number of updates that the run had made at the checkpoint.
    pub step: u64,
    /// Number of elements of all weights in the file.
    pub parameters: usize,
    /// The weights by their part in the model.
    pub weights: Vec<WeightGroup>,
    /// The result of the verification; `None` if there was none.
    pub ladder: Option<Ladder>,
    /// What the precision costs; `None` for float32 and if it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// The weights of one part of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightGroup {
    /// Part of the model.
    pub part: Part,
    /// Number of weights in the file.
    pub tensors: usize,
    /// Number of elements of these weights.
    pub parameters: usize,
    /// Size of these weights in bytes.
    pub bytes: usize,
    /// Number of inputs of nodes that read them: more than `tensors` where a weight is shared.
    pub readers: usize,
}

/// The weights of `graph` by part, without empty parts.
pub(crate) fn weight_groups(graph: &FileGraph<'_>) -> Vec<WeightGroup> {
    let nodes = graph.model.graph.iter().flat_map(|graph| &graph.node);
    let mut readers: HashMap<&str, usize> = HashMap::new();
    for input in nodes.flat_map(|node| &node.input) {
        *readers.entry(input).or_default() += 1;
    }
    let group = |part| {
        let weights = graph.weights.iter().filter(|weight| weight.source.part() == part);
        let empty = WeightGroup { part, tensors: 0, parameters: 0, bytes: 0, readers: 0 };
        weights.fold(empty, |group, weight| WeightGroup {
            part,
            tensors: group.tensors + 1,
            parameters: group.parameters + weight.element_count(),
            bytes: group.bytes + weight.byte_count(),
            readers: group.readers + readers.get(weight.name.as_str()).copied().unwrap_or(0),
        })
    };
    Part::ALL.into_iter().map(group).filter(|group| group.tensors > 0).collect()
}

impl fmt::Display for Exported {
    /// The file, the checkpoint of its weights, and a table of the weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, file, run, step, .. } = self;
        let size = grouped(self.bytes as usize);
        writeln!(f, "wrote `{}`, {size} bytes: task `{task}` of run `{run}` at step {step}", file.display())?;
        writeln!(f, "sha256 {}", self.sha256)?;
        if let Some(data) = &self.data {
            writeln!(f, "its large weights are in `{}`; keep both files in one folder", data.display())?;
        }
        if let Some(cost) = &self.cost {
            writeln!(f, "{}: {cost}", self.precision)?;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "weights",
            "tensors",
            "readers",
            "parameters",
            "bytes",
        ]);
        for group in &self.weights {
            let counts = [group.tensors, group.readers, group.parameters, group.bytes].map(grouped);
            table.add_row([group.part.to_string()].into_iter().chain(counts));
        }
        let sum = |count: fn(&WeightGroup) -> usize| grouped(self.weights.iter().map(count).sum());
        table.add_row([
            "all".to_owned(),
            sum(|group| group.tensors),
            sum(|group| group.readers),
            sum(|group| group.parameters),
            sum(|group| group.bytes),
        ]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{}", table.trim_fmt())
    }
}

/// A number with its digits in groups of three: `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        let texts = [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
