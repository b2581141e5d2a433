//! `hl-export inspect`: what is in an ONNX file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueHint};
use comfy_table::{CellAlignment, Table, presets};
use hyperloader_cli::{Console, OutputFormat};
use hyperloader_onnx::proto::{GraphProto, TensorProto};
use hyperloader_onnx::summary::{describe, operators};
use hyperloader_onnx::{ElementType, WeightFile};
use serde::Serialize;

/// Longest value of the metadata that is shown as it is, in characters.
const LONGEST: usize = 60;

/// Print inputs, outputs, operators, weights and metadata of an ONNX file
///
/// Reads any ONNX file, also one that another program wrote. Weights in files beside it are not read.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-export inspect mtop.onnx
  List the weights as JSON:
    hl-export inspect mtop.onnx --output-format json")]
pub(crate) struct InspectArgs {
    /// ONNX file
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output_format: OutputFormat,
}

/// What is in a file.
#[derive(Debug, Serialize)]
struct Contents {
    file: PathBuf,
    /// Size of the file and of the files of weights beside it, in bytes.
    bytes: u64,
    producer: String,
    ir_version: i64,
    opsets: Vec<i64>,
    /// Name, type and shape of each.
    inputs: Vec<String>,
    outputs: Vec<String>,
    nodes: usize,
    operators: Vec<(String, usize)>,
    weights: Vec<WeightSummary>,
    metadata: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct WeightSummary {
    name: String,
    #[serde(rename = "type")]
    element_type: String,
    shape: Vec<i64>,
    bytes: usize,
}

pub(crate) fn run(args: &InspectArgs, console: &Console) -> Result<()> {
    let contents = Contents::read(&args.file)?;
    console.record(args.output_format, &contents, || contents.text())
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let model = file.model()?;
        let mut bytes = 0;
        for path in file.paths() {
            bytes += std::fs::metadata(path)?.len();
        }
        let empty = GraphProto::default();
        let graph = model.graph.as_ref().unwrap_or(&empty);
        let metadata = model.metadata().into_iter();
        Ok(Self {
            file: path.to_owned(),
            bytes,
            producer: format!("{} {}", model.producer_name, model.producer_version).trim().to_owned(),
            ir_version: model.ir_version,
            opsets: model.opset_import.iter().map(|opset| opset.version).collect(),
            inputs: graph.input.iter().map(describe).collect(),
            outputs: graph.output.iter().map(describe).collect(),
            nodes: graph.node.len(),
            operators: operators(graph).into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
            weights: graph.initializer.iter().map(WeightSummary::new).collect(),
            metadata: metadata.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        })
    }

    fn text(&self) -> String {
        let opsets: Vec<String> = self.opsets.iter().map(i64::to_string).collect();
        let mut lines = vec![format!(
            "{}: {} bytes, {} nodes, opset {}, IR version {}, written by {}",
            self.file.display(),
            self.bytes,
            self.nodes,
            opsets.join(" and "),
            self.ir_version,
            if self.producer.is_empty() { "an unnamed program" } else { &self.producer }
        )];
        for (title, values) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            lines.push(format!("\n{title}"));
            lines.extend(values.iter().map(|value| format!("  {value}")));
        }
        lines.push("\noperators".to_owned());
        lines.extend(self.operators.iter().map(|(name, count)| format!("  {name} {count}")));
        lines.push(format!("\nweights\n{}", self.table()));
        lines.push("\nmetadata".to_owned());
        lines.extend(self.metadata.iter().map(|(name, value)| format!("  {name}: {}", shortened(value))));
        lines.join("\n")
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["name", "type", "shape", "bytes"]);
        for WeightSummary { name, element_type, shape, bytes } in &self.weights {
            table.add_row([name.clone(), element_type.clone(), format!("{shape:?}"), bytes.to_string()]);
        }
        if let Some(column) = table.column_mut(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

impl WeightSummary {
    fn new(tensor: &TensorProto) -> Self {
        let element_type = ElementType::from_code(tensor.data_type);
        Self {
            name: tensor.name.clone(),
            element_type: element_type
                .map_or_else(|| format!("type {}", tensor.data_type), |found| found.to_string()),
            shape: tensor.dims.clone(),
            bytes: tensor.raw_data.len(),
        }
    }
}

/// A value on one line: a long one is cut, and its length is given.
fn shortened(value: &serde_json::Value) -> String {
    let text = value.as_str().unwrap_or_default();
    let count = text.chars().count();
    let line = |text: String| text.replace(['\n', '\r'], " ");
    match count > LONGEST {
        true => format!("{}... ({count} characters)", line(text.chars().take(LONGEST).collect())),
        false => line(text.to_owned()),
    }
}
