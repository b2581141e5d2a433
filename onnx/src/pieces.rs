//! A model in pieces that run one after the other, so that a runtime holds the weights of one piece at a time.
//!
//! A model is cut at values whose type it declares. Other values that both sides of a cut need, such as the position bias of
//! the attention, are computed in each piece, if the weights for them are few.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use crate::extract::{ExtractError, extract};
use crate::proto::{GraphProto, ModelProto, NodeProto};

/// The weights that a cut makes two pieces read take at most this fraction of a piece: one eighth.
const REPEATED: usize = 8;

/// A part of a model. Run in order, the pieces of a model compute what the model computes.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The part as a model of its own. Its weights share the bytes of the whole model's.
    pub model: ModelProto,
    /// Inputs of the model, and outputs of earlier pieces.
    pub inputs: Vec<String>,
    /// Outputs of the model, and inputs of later pieces.
    pub outputs: Vec<String>,
}

/// Cuts `model` into pieces whose weights take little more than `bytes`, as far as there are values to cut it at. Outputs that
/// are inputs, weights or constants of the model are outputs of the last piece.
///
/// # Errors
/// Returns [`ExtractError`] if the model contains no graph, a node contains one, or no node computes an output.
pub fn pieces(model: &ModelProto, bytes: usize) -> Result<Vec<Piece>, ExtractError> {
    let graph = model.graph.as_ref().ok_or(ExtractError::NoGraph)?;
    let flow = Flow::of(graph);
    let ranges = flow.cuts(bytes);
    let is_last = |place: usize| place + 1 == ranges.len();
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    let (computed, others): (Vec<&str>, Vec<&str>) = outputs.partition(|name| flow.place(name).is_some());
    let others_of = |place: usize| others.iter().copied().filter(move |_| is_last(place));
    let inputs: Vec<BTreeSet<&str>> =
        ranges.iter().enumerate().map(|(place, nodes)| flow.inputs(nodes, others_of(place))).collect();
    let piece = |(place, nodes): (usize, &Range<usize>)| {
        let later: HashSet<&str> = inputs[place + 1..].iter().flatten().copied().collect();
        let is_read = |name: &&str| later.contains(name) || computed.contains(name);
        let values = flow.nodes[nodes.clone()].iter().flat_map(|node| &node.output).map(String::as_str);
        let outputs: Vec<&str> = values.filter(is_read).chain(others_of(place)).collect();
        let inputs: Vec<&str> = inputs[place].iter().copied().collect();
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Piece {
            model: extract(model, &inputs, &outputs)?,
            inputs: owned(&inputs),
            outputs: owned(&outputs),
        })
    };
    ranges.iter().enumerate().map(piece).collect()
}

/// How values pass through a graph.
struct Flow<'a> {
    /// The nodes that depend on an input of the graph, in order.
    nodes: Vec<&'a NodeProto>,
    /// The node that computes each value, and its place in `nodes`; `None` for the value of a constant.
    producers: HashMap<&'a str, (&'a NodeProto, Option<usize>)>,
    /// The place in `nodes` of the last node that reads each value.
    last_read: HashMap<&'a str, usize>,
    /// Names of the inputs of the graph, and of its inner values that have a type.
    typed: HashSet<&'a str>,
    /// Bytes of each weight.
    sizes: HashMap<&'a str, usize>,
}

/// What values depend on in a piece.
#[derive(Default)]
struct Dependencies<'a> {
    /// The inputs of the piece: inputs of the graph, and typed values that earlier nodes compute.
    inputs: BTreeSet<&'a str>,
    /// Weights and constants, and values that the piece computes.
    internal: HashSet<&'a str>,
}

impl<'a> Flow<'a> {
    fn of(graph: &'a GraphProto) -> Self {
        let names = |values: &'a [_]| {
            values.iter().map(|value: &'a crate::proto::ValueInfoProto| value.name.as_str())
        };
        let mut flowing: HashSet<&str> = names(&graph.input).collect();
        let typed = names(&graph.input).chain(names(&graph.value_info)).collect();
        let sizes = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor.raw_data.len()));
        let (mut nodes, mut producers, mut last_read) = (Vec::new(), HashMap::new(), HashMap::new());
        for node in &graph.node {
            let outputs = node.output.iter().map(String::as_str);
            let is_constant = !node.input.iter().any(|input| flowing.contains(input.as_str()));
            let place = (!is_constant).then_some(nodes.len());
            producers.extend(outputs.clone().map(|name| (name, (node, place))));
            if let Some(place) = place {
                nodes.push(node);
                last_read.extend(node.input.iter().map(|name| (name.as_str(), place)));
                flowing.extend(outputs);
            }
        }
        Self { nodes, producers, last_read, typed, sizes: sizes.collect() }
    }

    /// The nodes of each piece.
    fn cuts(&self, bytes: usize) -> Vec<Range<usize>> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        let (mut weights, mut untyped) = (HashSet::new(), HashSet::new());
        for (place, node) in self.nodes.iter().enumerate() {
            let constants = node.input.iter().map(String::as_str).filter(|name| self.place(name).is_none());
            weights.extend(self.dependencies(constants, place).internal);
            untyped.extend(node.output.iter().map(String::as_str).filter(|name| !self.typed.contains(name)));
            untyped.retain(|name| self.last_read.get(name).is_some_and(|last| *last > place));
            // The bytes of the weights that the next piece would read too, for values without a type.
            let repeated = || self.size(&self.dependencies(untyped.iter().copied(), place + 1).internal);
            if self.size(&weights) >= bytes && repeated() <= bytes / REPEATED {
                pieces.push(start..place + 1);
                (start, weights) = (place + 1, HashSet::new());
            }
        }
        // A model that computes nothing from its inputs is one piece.
        if start < self.nodes.len() || pieces.is_empty() {
            pieces.push(start..self.nodes.len());
        }
        pieces
    }

    /// The inputs of the piece with these nodes, whose outputs include `others`.
    fn inputs(&self, nodes: &Range<usize>, others: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let read = self.nodes[nodes.clone()].iter().flat_map(|node| &node.input).map(String::as_str);
        self.dependencies(read.chain(others), nodes.start).inputs
    }

    /// What `names` depend on in a piece that begins at the node `start`.
    fn dependencies(&self, names: impl Iterator<Item = &'a str>, start: usize) -> Dependencies<'a> {
        let mut found = Dependencies::default();
        let mut open: Vec<&str> = names.collect();
        while let Some(name) = open.pop() {
            let is_earlier = self.place(name).is_none_or(|place| place < start);
            let producer = self.producers.get(name);
            let is_constant =
                producer.map_or_else(|| self.sizes.contains_key(name), |(_, place)| place.is_none());
            if self.typed.contains(name) && is_earlier && !is_constant {
                found.inputs.insert(name);
            } else if found.internal.insert(name)
                && let Some((node, _)) = producer
            {
                open.extend(node.input.iter().map(String::as_str));
            }
        }
        found
    }

    /// The place of the node that computes `name`; `None` if it is an input, a weight or a constant.
    fn place(&self, name: &str) -> Option<usize> {
        self.producers.get(name).and_then(|(_, place)| *place)
    }

    fn size(&self, names: &HashSet<&str>) -> usize {
        names.iter().filter_map(|name| self.sizes.get(name)).sum()
    }
}
