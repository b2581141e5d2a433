//! Digests of a model, by which a changed byte is noticed: one of each weight, and one of all the rest but the metadata.

use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::built::Weight;
use crate::proto::{ModelProto, TensorProto};

/// A SHA-256.
pub type Digest = [u8; 32];

/// SHA-256 of a weight's element type, shape and `elements` (little-endian, row-major).
pub fn weight_digest<S>(weight: &Weight<S>, elements: &[u8]) -> Digest {
    digest(weight.element_type.code(), weight.dims.iter().map(|size| *size as u64), elements)
}

/// [`weight_digest`] of an initializer that has its elements as `raw_data`.
pub fn initializer_digest(tensor: &TensorProto) -> Digest {
    digest(tensor.data_type, tensor.dims.iter().map(|size| *size as u64), &tensor.raw_data)
}

fn digest(element_type: i32, dims: impl ExactSizeIterator<Item = u64>, elements: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(element_type.to_le_bytes());
    hash.update((dims.len() as u64).to_le_bytes());
    dims.for_each(|size| hash.update(size.to_le_bytes()));
    hash.update(elements);
    hash.finalize().into()
}

/// SHA-256 of a model without its metadata and without the initializers that `is_weight` names.
pub fn graph_digest(model: &ModelProto, is_weight: impl Fn(&str) -> bool) -> Digest {
    let mut rest = model.clone();
    rest.metadata_props.clear();
    if let Some(graph) = &mut rest.graph {
        graph.initializer.retain(|tensor| !is_weight(&tensor.name));
    }
    Sha256::digest(rest.encode_to_vec()).into()
}

/// SHA-256 of a text.
pub fn text_digest(text: &str) -> Digest {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementType;
    use crate::proto::{GraphProto, StringStringEntryProto};

    fn model() -> ModelProto {
        let tensor =
            |name, element| TensorProto::from_raw(name, ElementType::I8, &[2], vec![element, 2].into());
        let graph =
            GraphProto { initializer: vec![tensor("weight", 1), tensor("axis", 1)], ..GraphProto::default() };
        ModelProto { ir_version: 9, graph: Some(graph), ..ModelProto::default() }
    }

    #[test]
    fn the_digest_of_a_graph_depends_on_all_but_weights_and_metadata() {
        let digest = |model: &ModelProto| graph_digest(model, |name| name == "weight");
        let tensors = |model: &mut ModelProto, at: usize| {
            model.graph.as_mut().unwrap().initializer[at].raw_data = vec![9, 9].into()
        };
        let (mut weight, mut axis, mut version, mut metadata) = (model(), model(), model(), model());
        tensors(&mut weight, 0);
        tensors(&mut axis, 1);
        version.ir_version = 8;
        metadata.metadata_props.push(StringStringEntryProto { key: "a".into(), value: "b".into() });
        let whole = digest(&model());
        assert!(digest(&weight) == whole && digest(&metadata) == whole);
        assert!(digest(&axis) != whole && digest(&version) != whole);
    }

    #[test]
    fn the_digest_of_a_weight_depends_on_type_shape_and_elements() {
        let weight = |element_type, dims: &[usize]| Weight {
            name: String::new(),
            element_type,
            dims: dims.to_vec(),
            source: (),
        };
        let elements = [1, 2, 3, 4];
        let digests = [
            weight_digest(&weight(ElementType::I8, &[4]), &elements),
            weight_digest(&weight(ElementType::I8, &[2, 2]), &elements),
            weight_digest(&weight(ElementType::U8, &[4]), &elements),
            weight_digest(&weight(ElementType::I8, &[4]), &[1, 2, 3, 5]),
        ];
        assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        let tensor = TensorProto::from_raw("", ElementType::I8, &[4], elements.to_vec().into());
        assert_eq!(initializer_digest(&tensor), digests[0]);
    }
}
