//! Cuts the one graph of a tagger in memory into an encoder, run once a batch, and a decoder, run once a token.

use hyperloader_core::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, INPUT_IDS, LOGITS, TaggerMetadata, cross_key,
    cross_value,
};
use hyperloader_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use hyperloader_onnx::{Dim, ElementType, ExtractError, extract};

/// Output of the decoder: the most likely next id of each row, `[batch, 1]`, int64.
pub const NEXT_IDS: &str = "next_ids";

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

/// The encoder: from `input_ids` and `attention_mask` to the cross-attention's keys and values of every decoder block,
/// each `[batch, heads, source_len, d_kv]`, and what else the metadata names, in the order of [`memory_names`].
///
/// # Errors
/// If `model` lacks one of these values.
pub fn encoder(model: &ModelProto, metadata: &TaggerMetadata) -> Result<ModelProto, SplitError> {
    let memory = memory_names(metadata);
    let outputs: Vec<&str> = memory.iter().map(String::as_str).collect();
    Ok(extract(model, &[INPUT_IDS, ATTENTION_MASK], &outputs)?)
}

/// The decoder: from `decoder_input_ids` `[batch, target_len]`, `attention_mask` and the encoder's outputs to
/// [`NEXT_IDS`]: the argmax, lowest id first, at the last position. Only that position goes through the head, and no
/// logits leave the graph.
///
/// # Errors
/// If `model` lacks one of these values, or its head does not read `decoder_hidden_states`.
pub fn decoder(model: &ModelProto, metadata: &TaggerMetadata) -> Result<ModelProto, SplitError> {
    let memory = memory_names(metadata);
    let inputs: Vec<&str> =
        [DECODER_INPUT_IDS, ATTENTION_MASK].into_iter().chain(memory.iter().map(String::as_str)).collect();
    let mut decoder = extract(model, &inputs, &[LOGITS])?;
    if let Some(graph) = &mut decoder.graph {
        keep_last_position(graph)?;
        choose_next_ids(graph);
    }
    Ok(decoder)
}

/// Puts `Slice(decoder_hidden_states, -1..)` between the decoder and its head.
fn keep_last_position(graph: &mut GraphProto) -> Result<(), SplitError> {
    let last = format!("{ADDED}last_hidden_states");
    let mut readers = 0;
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if input == DECODER_HIDDEN_STATES {
            input.clone_from(&last);
            readers += 1;
        }
    }
    let maker =
        graph.node.iter().position(|node| node.output.iter().any(|name| name == DECODER_HIDDEN_STATES));
    let Some(maker) = maker.filter(|_| readers > 0) else { return Err(SplitError::NoHead) };
    let bounds = [("starts", -1), ("ends", i64::MAX), ("axes", 1)];
    let constants = bounds.map(|(name, number)| {
        let name = format!("{ADDED}{name}");
        TensorProto::from_raw(&name, ElementType::I64, &[1], number.to_le_bytes().to_vec().into())
    });
    let slice = NodeProto {
        name: format!("{ADDED}Slice"),
        op_type: "Slice".into(),
        input: [DECODER_HIDDEN_STATES.to_owned()]
            .into_iter()
            .chain(constants.iter().map(|constant| constant.name.clone()))
            .collect(),
        output: vec![last],
        ..NodeProto::default()
    };
    graph.node.insert(maker + 1, slice);
    graph.initializer.extend(constants);
    // Behind the slice, declared shapes would be those of the whole target.
    graph.value_info.clear();
    Ok(())
}

fn choose_next_ids(graph: &mut GraphProto) {
    graph.node.push(NodeProto {
        name: format!("{ADDED}ArgMax"),
        op_type: "ArgMax".into(),
        input: vec![LOGITS.into()],
        output: vec![NEXT_IDS.into()],
        attribute: vec![AttributeProto::int("axis", -1), AttributeProto::int("keepdims", 0)],
        ..NodeProto::default()
    });
    graph.output =
        vec![ValueInfoProto::tensor(NEXT_IDS, ElementType::I64, &[Dim::from("batch"), Dim::from(1)])];
}
