//! Graph, weights and properties by their digests.

use std::collections::{BTreeMap, BTreeSet};

use hyperloader_core::files::hexadecimal;
use hyperloader_core::format::proof::{PROOF, Proof};
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::{graph_digest, initializer_digest, text_digest};

use super::check::Check;

pub(super) fn graph(model: &ModelProto, proof: &Proof) -> Check {
    let digest = hexadecimal(&graph_digest(model, |name| proof.weights.contains_key(name)));
    let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    let faults: &[String] = match digest == proof.graph {
        true => &[],
        false => &["the graph is not the one that was exported".to_owned()],
    };
    Check::of("graph", faults, format!("{nodes} nodes as exported"))
}

pub(super) fn weights(model: &ModelProto, proof: &Proof) -> Check {
    let initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
    let weights = initializers.filter(|tensor| proof.weights.contains_key(&tensor.name));
    let (mut found, mut bytes) = (BTreeMap::new(), 0);
    for tensor in weights {
        bytes += tensor.raw_data.len();
        found.insert(tensor.name.as_str(), hexadecimal(&initializer_digest(tensor)));
    }
    let count = format!("{} weights, {bytes} bytes as exported", found.len());
    Check::of("weights", &faults("weight", &proof.weights, &found), count)
}

pub(super) fn properties(model: &ModelProto, proof: &Proof) -> Check {
    let properties = model.metadata().into_iter().filter(|(name, _)| *name != PROOF);
    let found = properties.map(|(name, text)| (name, hexadecimal(&text_digest(text)))).collect();
    let count = format!("{} fields as exported", proof.properties.len());
    Check::of("metadata", &faults("field", &proof.properties, &found), count)
}

/// What is missing, was added, or has another digest.
fn faults(what: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<&str, String>) -> Vec<String> {
    let names: BTreeSet<&str> = expected.keys().map(String::as_str).chain(found.keys().copied()).collect();
    let fault = |name: &str| match (expected.get(name), found.get(name)) {
        (Some(expected), Some(found)) if expected == found => None,
        (Some(expected), Some(found)) => {
            Some(format!("{what} `{name}` was changed: its SHA-256 is {found}, exported was {expected}"))
        }
        (Some(_), None) => Some(format!("{what} `{name}` is missing")),
        (None, _) => Some(format!("{what} `{name}` was added")),
    };
    names.into_iter().filter_map(fault).collect()
}
