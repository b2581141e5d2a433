//! The first outputs of the decoder: the ids that it chooses, and what they are scored by.

use hyperloader_core::format::tagger::LOGITS;
use hyperloader_onnx::ElementType;
use hyperloader_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};

use super::nodes::{ADDED, integers, node};

/// Output of the decoder: the most likely next id of each wanted position, `[wanted, 1]`, int64.
pub(crate) const NEXT_IDS: &str = "next_ids";
/// Output of the decoder: the logit of that id, `[wanted, 1, 1]`, float32.
pub(crate) const NEXT_LOGITS: &str = "next_logits";
/// Output of the decoder: the log-probability of that id, `[wanted, 1, 1]`, float32.
pub(crate) const NEXT_LOG_PROBABILITIES: &str = "next_log_probabilities";
/// Output of the decoder: the logits of some ids at each wanted position, `[wanted, 1, ids]`, float32.
pub(crate) const SOME_LOGITS: &str = "some_logits";

/// The first outputs of the decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Chosen<'a> {
    /// [`NEXT_IDS`]: the argmax over the vocabulary, lowest id first; and [`NEXT_LOGITS`].
    Ids,
    /// The same, then [`NEXT_LOG_PROBABILITIES`] with the logits divided by `temperature`, and [`SOME_LOGITS`] of `ids`,
    /// which are not divided.
    ScoredIds { ids: &'a [u32], temperature: f32 },
    /// [`SOME_LOGITS`] of these ids.
    Logits(&'a [u32]),
}

impl Chosen<'_> {
    /// Numbers in each output at each wanted position.
    pub(crate) fn widths(self) -> Vec<usize> {
        match self {
            Self::Ids => vec![1, 1],
            Self::ScoredIds { ids, .. } => vec![1, 1, 1, ids.len()],
            Self::Logits(ids) => vec![ids.len()],
        }
    }

    /// Adds the nodes after the logits; gives the outputs.
    pub(super) fn add_to(self, graph: &mut GraphProto) -> Vec<ValueInfoProto> {
        match self {
            Self::Ids => next_ids(graph).into(),
            Self::ScoredIds { ids, temperature } => {
                let [next_ids, next_logits] = next_ids(graph);
                let log_probabilities = log_probabilities(graph, temperature);
                vec![next_ids, next_logits, log_probabilities, some_logits(graph, ids)]
            }
            Self::Logits(ids) => vec![some_logits(graph, ids)],
        }
    }
}

/// Adds the argmax over the vocabulary and its logit.
fn next_ids(graph: &mut GraphProto) -> [ValueInfoProto; 2] {
    let ints = [("axis", -1), ("keepdims", 0)].map(|(name, int)| AttributeProto::int(name, int));
    let (index, axis) = (format!("{ADDED}next_ids_column"), format!("{ADDED}last_axis"));
    graph.initializer.push(integers(&axis, &[2]));
    graph.node.push(output("ArgMax", &[LOGITS], NEXT_IDS, ints.to_vec()));
    graph.node.push(node("Unsqueeze", &[NEXT_IDS, &axis], "next_ids_column", vec![]));
    graph.node.push(output("GatherElements", &[LOGITS, &index], NEXT_LOGITS, vec![last_axis()]));
    [
        ValueInfoProto::tensor(NEXT_IDS, ElementType::I64, &["wanted".into(), 1.into()]),
        ValueInfoProto::tensor(NEXT_LOGITS, ElementType::F32, &["wanted".into(), 1.into(), 1.into()]),
    ]
}

/// Adds the log-probability of the argmax, after [`next_ids`].
fn log_probabilities(graph: &mut GraphProto, temperature: f32) -> ValueInfoProto {
    let scaled = match temperature {
        1.0 => LOGITS.to_owned(),
        _ => {
            let factor = format!("{ADDED}inverse_temperature");
            let bytes = temperature.recip().to_le_bytes().to_vec();
            graph.initializer.push(TensorProto::from_raw(&factor, ElementType::F32, &[1], bytes.into()));
            graph.node.push(node("Mul", &[LOGITS, &factor], "scaled_logits", vec![]));
            format!("{ADDED}scaled_logits")
        }
    };
    graph.node.push(node("LogSoftmax", &[&scaled], "log_probabilities", vec![last_axis()]));
    let inputs = ["log_probabilities", "next_ids_column"].map(|name| format!("{ADDED}{name}"));
    let inputs = inputs.each_ref().map(String::as_str);
    graph.node.push(output("GatherElements", &inputs, NEXT_LOG_PROBABILITIES, vec![last_axis()]));
    ValueInfoProto::tensor(NEXT_LOG_PROBABILITIES, ElementType::F32, &["wanted".into(), 1.into(), 1.into()])
}

/// Adds the selection of these ids' logits.
fn some_logits(graph: &mut GraphProto, ids: &[u32]) -> ValueInfoProto {
    let kept = format!("{ADDED}ids");
    let numbers: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    graph.initializer.push(integers(&kept, &numbers));
    graph.node.push(output("Gather", &[LOGITS, &kept], SOME_LOGITS, vec![AttributeProto::int("axis", 2)]));
    ValueInfoProto::tensor(SOME_LOGITS, ElementType::F32, &["wanted".into(), 1.into(), ids.len().into()])
}

fn last_axis() -> AttributeProto {
    AttributeProto::int("axis", -1)
}

/// A node whose only output is the graph's output `name`.
fn output(op_type: &str, inputs: &[&str], name: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto { output: vec![name.into()], ..node(op_type, inputs, name, attribute) }
}
