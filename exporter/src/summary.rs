//! What an export reports: weights by their part in the model, and text for people.

use std::collections::HashMap;
use std::fmt;

use comfy_table::{CellAlignment, Table, presets};
use hyperloader_core::backbone::t5::names;
use hyperloader_onnx::BuiltModel;
use serde::Serialize;

use crate::export::Exported;
use crate::graph::{DRAFTER_BIAS, DRAFTER_WEIGHT};

/// The weights of one part of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightGroup {
    /// The part.
    pub part: &'static str,
    /// Weights, each stored once.
    pub tensors: usize,
    /// Their elements.
    pub parameters: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Nodes of the graph that read them: more than `tensors` where one is shared.
    pub readers: usize,
}

const PARTS: [&str; 11] = [
    "embedding",
    "head",
    "position tables",
    "adapters",
    "generator",
    "LoRA",
    "prefix",
    "norms",
    "feed-forward",
    "attention",
    "drafter",
];

fn part(name: &str) -> &'static str {
    let [
        embedding,
        head,
        positions,
        adapters,
        generator,
        lora,
        prefix,
        norms,
        feed_forward,
        attention,
        drafter,
    ] = PARTS;
    match name {
        names::SHARED => embedding,
        names::LM_HEAD => head,
        _ if name.starts_with("classifier.") => head,
        _ if name.contains("relative_attention_bias") => positions,
        DRAFTER_WEIGHT | DRAFTER_BIAS => drafter,
        _ if name.contains(".adapter.") || name.contains(".adapters.") => adapters,
        _ if name.starts_with("generator.") => generator,
        _ if name.contains(".lora_") => lora,
        _ if name.contains(".prefix_") => prefix,
        _ if name.contains("layer_norm") || name.contains("LayerNorm") => norms,
        _ if name.contains("_embeddings.") => embedding,
        _ if name.contains("DenseReluDense") || is_feed_forward(name) => feed_forward,
        _ => attention,
    }
}

/// Of a BERT, whose attention has an `output.dense` too.
fn is_feed_forward(name: &str) -> bool {
    name.contains(".intermediate.") || (name.contains(".output.dense.") && !name.contains(".attention."))
}

/// The weights of `built`, counted by part.
pub(crate) fn weight_groups(built: &BuiltModel) -> Vec<WeightGroup> {
    let nodes = built.model.graph.iter().flat_map(|graph| &graph.node);
    let mut readers: HashMap<&str, usize> = HashMap::new();
    for input in nodes.flat_map(|node| &node.input) {
        *readers.entry(input).or_default() += 1;
    }
    let group = |wanted| {
        let weights = built.weights.iter().filter(|weight| part(&weight.name) == wanted);
        let empty = WeightGroup { part: wanted, tensors: 0, parameters: 0, bytes: 0, readers: 0 };
        weights.fold(empty, |group, weight| WeightGroup {
            part: wanted,
            tensors: group.tensors + 1,
            parameters: group.parameters + weight.element_count(),
            bytes: group.bytes + weight.byte_count(),
            readers: group.readers + readers.get(weight.name.as_str()).copied().unwrap_or(0),
        })
    };
    PARTS.into_iter().map(group).filter(|group| group.tensors > 0).collect()
}

impl fmt::Display for Exported {
    /// The file, where its weights come from, and a table of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, file, run, step, .. } = self;
        let size = grouped(self.bytes as usize);
        writeln!(f, "wrote `{}`, {size} bytes: task `{task}` of run `{run}` at step {step}", file.display())?;
        writeln!(f, "sha256 {}", self.sha256)?;
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
            table.add_row([group.part.to_owned()].into_iter().chain(counts));
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

/// `1,234,567`
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
