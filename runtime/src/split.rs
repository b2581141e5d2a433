//! Splits the graph of a tagger in memory into an encoder, which runs once per batch, and a decoder, which runs several
//! times.
//!
//! - [`chosen`]: the first outputs of the decoder
//! - [`nodes`]: nodes and constants that are added

mod chosen;
mod nodes;

use hyperloader_core::format::tagger::{
    ATTENTION_MASK, DECODER_HIDDEN_STATES, DECODER_INPUT_IDS, DRAFT_TAGS, INPUT_IDS, KEY_POSITIONS, LOGITS,
    QUERY_POSITIONS, TaggerMetadata, cross_key, cross_value, self_key, self_value,
};
use hyperloader_onnx::proto::{AttributeProto, GraphProto, ModelProto, ValueInfoProto};
use hyperloader_onnx::{Dim, ElementType, ExtractError, extract};

pub(crate) use self::chosen::Chosen;
use self::nodes::{ADDED, integers, node};

/// Input of the decoder: the positions after which ids are chosen, `[wanted]`, int64; position `p` of row `r` is
/// `r * target_len + p`.
pub(crate) const WANTED: &str = "wanted";

/// A position after all others, in `key_positions`: the causal mask hides it from every query.
pub(crate) const NOWHERE: i64 = i32::MAX as i64;

/// The dimension of the tokens of earlier passes and of this one, in a form that tract reads.
const ALL_LEN: &str = "past_len+target_len";

/// A graph cannot be split.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// A value at which the graph is split is missing, or the parts are connected elsewhere.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The self-attention's keys or values cannot be kept.
    #[error(
        "`{name}` is not `[batch, heads, target_len, d_kv]` of fixed `heads` and `d_kv`, or nothing reads it"
    )]
    Cache { name: String },
    /// The head does not read the decoder's output.
    #[error("`{LOGITS}` does not depend on the value `{DECODER_HIDDEN_STATES}`")]
    NoHead,
}

/// Names of the encoder's outputs that the decoder reads: the cross-attention's keys and values, block by block, and those
/// in the metadata's `memory`.
pub(crate) fn memory_names(metadata: &TaggerMetadata) -> Vec<String> {
    let cross = (0..metadata.decoder_layers).flat_map(|block| [cross_key(block), cross_value(block)]);
    cross.chain(metadata.memory.iter().cloned()).collect()
}

/// Names of the self-attention's keys and values, block by block.
pub(crate) fn cache_names(metadata: &TaggerMetadata) -> Vec<String> {
    (0..metadata.decoder_layers).flat_map(|block| [self_key(block), self_value(block)]).collect()
}

/// Name of the decoder's input for the output `name` of earlier passes, one of [`cache_names`].
pub(crate) fn past(name: &str) -> String {
    format!("past_{name}")
}

/// Name of the decoder's output for the keys or values `name`, one of [`cache_names`], of earlier passes and of this one.
pub(crate) fn all(name: &str) -> String {
    format!("{ADDED}all_{name}")
}

/// The encoder: from `input_ids` and `attention_mask` to the values `memory` (see [`memory_names`]) in their order,
/// keys and values each `[batch, heads, source_len, d_kv]`, and last the drafter's scores if `drafter` asks for them.
///
/// # Errors
/// If `model` lacks one of these values.
pub(crate) fn encoder(
    model: &ModelProto,
    memory: &[String],
    drafter: bool,
) -> Result<ModelProto, SplitError> {
    let scores = drafter.then_some(DRAFT_TAGS);
    let outputs: Vec<&str> = memory.iter().map(String::as_str).chain(scores).collect();
    Ok(extract(model, &[INPUT_IDS, ATTENTION_MASK], &outputs)?)
}

/// The decoder: from `decoder_input_ids` `[batch, target_len]`, `attention_mask`, [`WANTED`] and the encoder's outputs
/// `memory` to what is `chosen` after each wanted position. Only these positions go through the output layer, and the logits
/// of the whole vocabulary never leave the graph.
///
/// The ids may follow others that an earlier pass has seen. The self-attention's keys and values of those are inputs, named
/// by [`past`] for each name of `cache`, `[batch, heads, past_len, d_kv]`. The other outputs are those keys and values with
/// the ones of this pass, `[batch, heads, past_len + target_len, d_kv]` each. `query_positions` `[batch, target_len, 1]` and
/// `key_positions` `[batch, 1, past_len + target_len]` are the positions of all these ids in the target. The position of a
/// column of the past that holds no id of the target is [`NOWHERE`].
///
/// # Errors
/// If `model` lacks one of these values, or its head does not read `decoder_hidden_states`.
pub(crate) fn decoder(
    model: &ModelProto,
    memory: &[String],
    cache: &[String],
    chosen: Chosen<'_>,
) -> Result<ModelProto, SplitError> {
    let inputs = [DECODER_INPUT_IDS, ATTENTION_MASK, QUERY_POSITIONS, KEY_POSITIONS].into_iter();
    let inputs: Vec<&str> = inputs.chain(memory.iter().map(String::as_str)).collect();
    let outputs: Vec<&str> = [LOGITS].into_iter().chain(cache.iter().map(String::as_str)).collect();
    let mut decoder = extract(model, &inputs, &outputs)?;
    if let Some(graph) = &mut decoder.graph {
        keep_wanted_positions(graph)?;
        continue_a_past(graph, cache)?;
        let chosen = chosen.add_to(graph);
        graph.output.splice(..1, chosen);
    }
    Ok(decoder)
}

/// Number of heads and their width in the value `name`, one of [`cache_names`].
///
/// # Errors
/// If `graph` does not say.
pub(crate) fn cache_shape(graph: &GraphProto, name: &str) -> Result<[usize; 2], SplitError> {
    match graph.typed_value(name).and_then(ValueInfoProto::dimensions).as_deref() {
        Some(&[_, Some(heads), _, Some(d_kv)]) => Ok([heads, d_kv]),
        _ => Err(SplitError::Cache { name: name.into() }),
    }
}

/// Puts the past before each value of `cache`, wherever the value is read.
fn continue_a_past(graph: &mut GraphProto, cache: &[String]) -> Result<(), SplitError> {
    let (batch, queries) = (Dim::from("batch"), Dim::from("target_len"));
    let positions = [
        (QUERY_POSITIONS, [batch.clone(), queries, 1.into()]),
        (KEY_POSITIONS, [batch.clone(), 1.into(), ALL_LEN.into()]),
    ];
    for (name, dims) in positions {
        let input = graph.input.iter_mut().find(|input| input.name == name);
        input.into_iter().for_each(|input| *input = ValueInfoProto::tensor(name, ElementType::I64, &dims));
    }
    for (name, output) in cache.iter().zip(1..) {
        let error = || SplitError::Cache { name: name.clone() };
        let [heads, d_kv] = cache_shape(graph, name)?;
        let maker = graph.node.iter().position(|node| node.output.contains(name)).ok_or_else(error)?;
        let (all, axis) = (&all(name), AttributeProto::int("axis", 2));
        let concat = node("Concat", &[&past(name), name], &format!("all_{name}"), vec![axis]);
        if replace_reads(graph, name, all) == 0 {
            return Err(error());
        }
        let dims = |length: &str| [batch.clone(), heads.into(), length.into(), d_kv.into()];
        graph.input.push(ValueInfoProto::tensor(&past(name), ElementType::F32, &dims("past_len")));
        graph.output[output] = ValueInfoProto::tensor(all, ElementType::F32, &dims(ALL_LEN));
        graph.node.insert(maker + 1, concat);
    }
    Ok(())
}

/// Makes all nodes that read `from` read `to`; gives the number of inputs.
fn replace_reads(graph: &mut GraphProto, from: &str, to: &str) -> usize {
    let inputs = graph.node.iter_mut().flat_map(|node| &mut node.input);
    inputs.filter(|input| *input == from).map(|input| to.clone_into(input)).count()
}

/// Puts `[batch, target_len, d_model]` -> `[wanted, 1, d_model]` between the decoder and its head.
fn keep_wanted_positions(graph: &mut GraphProto) -> Result<(), SplitError> {
    let readers = replace_reads(graph, DECODER_HIDDEN_STATES, &format!("{ADDED}wanted_hidden_states"));
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
    // The declared shapes are those of the whole target.
    graph.value_info.clear();
    Ok(())
}

#[cfg(all(test, feature = "ort", feature = "tract"))]
mod tests;
