//! Cuts the one graph of a tagger in memory into an encoder, run once a batch, and a decoder, run several times.

use hyperloader_core::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, DRAFT_TAGS, INPUT_IDS, LOGITS, TaggerMetadata,
    cross_key, cross_value,
};
use hyperloader_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use hyperloader_onnx::{Dim, ElementType, ExtractError, extract};

/// Output of the decoder: the most likely next id of each wanted position, `[wanted, 1]`, int64.
pub const NEXT_IDS: &str = "next_ids";
/// Output of the decoder: the logits of some ids at each wanted position, `[wanted, 1, ids]`, float32.
pub const SOME_LOGITS: &str = "some_logits";
/// Input of the decoder: positions to choose an id behind, `[wanted]`, int64; position `p` of row `r` is
/// `r * target_len + p`.
pub const WANTED: &str = "wanted";

/// Names of what is added to the decoder begin so, lest they clash.
const ADDED: &str = "hl-run/";

/// A graph cannot be cut in two.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// A value at which it is cut is missing, or the parts hang together otherwise.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The head does not read the decoder's output.
    #[error("`{LOGITS}` does not depend on the value `{DECODER_HIDDEN_STATES}`")]
    NoHead,
}

/// Names of the cross-attention's keys and values, block by block, and of what else the decoder reads: the encoder's
/// outputs in order.
pub fn memory_names(metadata: &TaggerMetadata) -> Vec<String> {
    let cross = (0..metadata.decoder_layers).flat_map(|block| [cross_key(block), cross_value(block)]);
    cross.chain(metadata.memory.iter().cloned()).collect()
}

/// What the decoder puts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// [`NEXT_IDS`]: the argmax over the vocabulary, lowest id first.
    Ids,
    /// [`SOME_LOGITS`] of these ids.
    Logits(&'a [u32]),
}

/// The encoder: from `input_ids` and `attention_mask` to the values `memory` (see [`memory_names`]) in their order,
/// keys and values each `[batch, heads, source_len, d_kv]`, and the drafter's scores behind them if they are wanted.
///
/// # Errors
/// If `model` lacks one of these values.
pub fn encoder(model: &ModelProto, memory: &[String], drafter: bool) -> Result<ModelProto, SplitError> {
    let scores = drafter.then_some(DRAFT_TAGS);
    let outputs: Vec<&str> = memory.iter().map(String::as_str).chain(scores).collect();
    Ok(extract(model, &[INPUT_IDS, ATTENTION_MASK], &outputs)?)
}

/// The decoder: from `decoder_input_ids` `[batch, target_len]`, `attention_mask`, [`WANTED`] and the encoder's outputs
/// `memory` to what is `chosen` behind each wanted position. Only those go through the head, and the vocabulary's logits
/// never leave the graph.
///
/// # Errors
/// If `model` lacks one of these values, or its head does not read `decoder_hidden_states`.
pub fn decoder(model: &ModelProto, memory: &[String], chosen: Chosen<'_>) -> Result<ModelProto, SplitError> {
    let inputs: Vec<&str> =
        [DECODER_INPUT_IDS, ATTENTION_MASK].into_iter().chain(memory.iter().map(String::as_str)).collect();
    let mut decoder = extract(model, &inputs, &[LOGITS])?;
    if let Some(graph) = &mut decoder.graph {
        keep_wanted_positions(graph)?;
        match chosen {
            Chosen::Ids => choose_next_ids(graph),
            Chosen::Logits(ids) => keep_logits(graph, ids),
        }
    }
    Ok(decoder)
}

/// Puts `[batch, target_len, d_model]` -> `[wanted, 1, d_model]` between the decoder and its head.
fn keep_wanted_positions(graph: &mut GraphProto) -> Result<(), SplitError> {
    let kept = format!("{ADDED}wanted_hidden_states");
    let mut readers = 0;
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if input == DECODER_HIDDEN_STATES {
            input.clone_from(&kept);
            readers += 1;
        }
    }
    let maker =
        graph.node.iter().position(|node| node.output.iter().any(|name| name == DECODER_HIDDEN_STATES));
    let width = graph.typed_value(DECODER_HIDDEN_STATES).and_then(ValueInfoProto::last_dimension);
    let (Some(maker), Some(width), 1..) = (maker, width, readers) else { return Err(SplitError::NoHead) };
    let (rows, columns) = (format!("{ADDED}rows"), format!("{ADDED}axis"));
    let nodes = [
        node("Reshape", &[DECODER_HIDDEN_STATES, &rows], "flat_hidden_states", vec![]),
        node(
            "Gather",
            &[&format!("{ADDED}flat_hidden_states"), WANTED],
            "gathered",
            vec![AttributeProto::int("axis", 0)],
        ),
        node("Unsqueeze", &[&format!("{ADDED}gathered"), &columns], "wanted_hidden_states", vec![]),
    ];
    graph.node.splice(maker + 1..maker + 1, nodes);
    graph.initializer.push(integers(&rows, &[-1, width as i64]));
    graph.initializer.push(integers(&columns, &[1]));
    graph.input.push(ValueInfoProto::tensor(WANTED, ElementType::I64, &[Dim::from("wanted")]));
    // Behind the choice, declared shapes would be those of the whole target.
    graph.value_info.clear();
    Ok(())
}

fn choose_next_ids(graph: &mut GraphProto) {
    graph.node.push(NodeProto {
        output: vec![NEXT_IDS.into()],
        ..node(
            "ArgMax",
            &[LOGITS],
            NEXT_IDS,
            vec![AttributeProto::int("axis", -1), AttributeProto::int("keepdims", 0)],
        )
    });
    graph.output =
        vec![ValueInfoProto::tensor(NEXT_IDS, ElementType::I64, &[Dim::from("wanted"), Dim::from(1)])];
}

fn keep_logits(graph: &mut GraphProto, ids: &[u32]) {
    let kept = format!("{ADDED}ids");
    let numbers: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
    graph.initializer.push(integers(&kept, &numbers));
    graph.node.push(NodeProto {
        output: vec![SOME_LOGITS.into()],
        ..node("Gather", &[LOGITS, &kept], SOME_LOGITS, vec![AttributeProto::int("axis", 2)])
    });
    let dims = [Dim::from("wanted"), Dim::from(1), Dim::from(ids.len())];
    graph.output = vec![ValueInfoProto::tensor(SOME_LOGITS, ElementType::F32, &dims)];
}

/// A node whose only output, and itself, are named `name` under [`ADDED`].
fn node(op_type: &str, inputs: &[&str], name: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: format!("{ADDED}{name}"),
        op_type: op_type.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![format!("{ADDED}{name}")],
        attribute,
        ..NodeProto::default()
    }
}

fn integers(name: &str, numbers: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    TensorProto::from_raw(name, ElementType::I64, &[numbers.len()], bytes.into())
}
