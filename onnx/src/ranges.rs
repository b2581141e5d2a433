//! Limits on `Range`, the only operator of taggers whose output is as large as the values of its inputs, not their sizes.

use std::collections::{HashMap, HashSet};

use crate::element::ElementType;
use crate::proto::{GraphProto, NodeProto};

/// The largest constant bound of a `Range`.
const MAX_BOUND: i64 = 1 << 20;
/// The most dimensions of inputs whose sum bounds a `Range`.
const MAX_SIZES: u32 = 4;

/// A limit on each integer of a value: the sum of `sizes` dimensions of the graph's inputs, plus `constant`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bound {
    sizes: u32,
    constant: i64,
}

impl Bound {
    fn plus(self, other: Self) -> Self {
        Self {
            sizes: self.sizes.saturating_add(other.sizes),
            constant: self.constant.saturating_add(other.constant),
        }
    }

    fn largest(self, other: Self) -> Self {
        Self { sizes: self.sizes.max(other.sizes), constant: self.constant.max(other.constant) }
    }

    fn is_small(self) -> bool {
        self.sizes <= MAX_SIZES && self.constant <= MAX_BOUND
    }
}

/// Checks that each `Range` counts up, from and to integers that are small constants or are computed from the dimensions of
/// the graph's inputs.
pub(crate) fn check_ranges(graph: &GraphProto) -> Result<(), String> {
    if !graph.node.iter().any(is_range) {
        return Ok(());
    }
    let inputs: HashSet<&str> = graph.input.iter().map(|value| value.name.as_str()).collect();
    let constants: HashMap<&str, Vec<i64>> = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.data_type == ElementType::I64.code())
        .map(|tensor| (tensor.name.as_str(), tensor.i64s().collect()))
        .collect();
    let others: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let constant = |numbers: &Vec<i64>| {
        let largest = numbers.iter().map(|number| number.saturating_abs()).max().unwrap_or(0);
        Bound { sizes: 0, constant: largest }
    };
    let mut known: HashMap<&str, Bound> =
        constants.iter().map(|(name, numbers)| (*name, constant(numbers))).collect();
    for node in &graph.node {
        if is_range(node) {
            check_range(node, &constants, &others, &known)?;
        }
        if let ([output], Some(bound)) = (node.output.as_slice(), bound(node, &inputs, &known)) {
            known.insert(output, bound);
        }
    }
    Ok(())
}

fn is_range(node: &NodeProto) -> bool {
    node.op_type == "Range"
}

/// `others` are the names of all constants.
fn check_range(
    node: &NodeProto,
    constants: &HashMap<&str, Vec<i64>>,
    others: &HashSet<&str>,
    known: &HashMap<&str, Bound>,
) -> Result<(), String> {
    let name = &node.name;
    let [start, limit, step] = node.input.as_slice() else {
        return Err(format!("node `{name}` has {} inputs, a `Range` has 3", node.input.len()));
    };
    for (input, lowest) in [(start, -MAX_BOUND), (limit, -MAX_BOUND), (step, 1)] {
        let is_small = match constants.get(input.as_str()) {
            Some(numbers) => matches!(numbers[..], [number] if (lowest..=MAX_BOUND).contains(&number)),
            None if others.contains(input.as_str()) || input == step => false,
            None => match known.get(input.as_str()) {
                Some(bound) if bound.is_small() => true,
                _ => {
                    return Err(format!(
                        "node `{name}` counts by `{input}`, which is not a sum of at most {MAX_SIZES} dimensions of the inputs"
                    ));
                }
            },
        };
        if !is_small {
            return Err(format!(
                "node `{name}` counts by `{input}`, expected an integer from {lowest} to {MAX_BOUND}"
            ));
        }
    }
    Ok(())
}

/// The bound of the only output of `node`; `None` if there is no bound.
fn bound(node: &NodeProto, inputs: &HashSet<&str>, known: &HashMap<&str, Bound>) -> Option<Bound> {
    let first = node.input.first()?.as_str();
    let mut bounds = node.input.iter().map(|input| known.get(input.as_str()).copied());
    match node.op_type.as_str() {
        // The dimensions of inner values are not limited: a tensor without elements takes no memory.
        "Shape" if inputs.contains(first) => Some(Bound { sizes: 1, constant: 0 }),
        "Identity" | "Squeeze" | "Unsqueeze" | "Reshape" | "Gather" | "Slice" => bounds.next()?,
        "Concat" | "Max" | "Min" => bounds.try_fold(Bound::default(), |sum, bound| Some(sum.largest(bound?))),
        "Add" | "Sub" => bounds.try_fold(Bound::default(), |sum, bound| Some(sum.plus(bound?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{TensorProto, ValueInfoProto};

    const INT64: ElementType = ElementType::I64;

    fn constant(name: &str, element_type: ElementType, bytes: &[u8], dims: &[usize]) -> TensorProto {
        TensorProto::from_raw(name, element_type, dims, bytes.to_vec().into())
    }

    fn integer(name: &str, number: i64) -> TensorProto {
        constant(name, INT64, &number.to_le_bytes(), &[])
    }

    fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            name: output.into(),
            op_type: op_type.into(),
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    /// The result for a graph with the input `ids`, the constants `0`, `1` and `other`, and these nodes.
    fn checked(other: TensorProto, nodes: &[NodeProto]) -> Result<(), String> {
        check_ranges(&GraphProto {
            input: vec![ValueInfoProto { name: "ids".into(), ..ValueInfoProto::default() }],
            initializer: vec![integer("0", 0), integer("1", 1), other],
            node: nodes.to_vec(),
            ..GraphProto::default()
        })
    }

    #[test]
    fn ranges_over_dimensions_of_inputs_and_small_constants_are_accepted() {
        let length = [node("Shape", &["ids"], "shape"), node("Squeeze", &["shape", "0"], "length")];
        let with = |last: NodeProto| checked(integer("past", 100), &[&length[..], &[last]].concat());
        assert_eq!(with(node("Range", &["0", "length", "1"], "range")), Ok(()));
        assert_eq!(with(node("Range", &["0", "past", "1"], "range")), Ok(()));
        let mut shifted = length.to_vec();
        shifted.push(node("Add", &["length", "past"], "end"));
        shifted.push(node("Range", &["past", "end", "1"], "range"));
        assert_eq!(checked(integer("past", 100), &shifted), Ok(()));
    }

    #[test]
    fn constants_that_do_not_bound_a_range_are_refused() {
        let range = |place: usize| {
            let mut inputs = ["0", "1", "1"];
            inputs[place] = "other";
            [node("Range", &inputs, "range")]
        };
        let large = 1_i64 << 21;
        for (place, other) in [
            (0, integer("other", -large)),
            (1, integer("other", large)),
            (1, integer("other", i64::MIN)),
            (2, integer("other", 0)),
            (2, integer("other", -1)),
            (1, constant("other", ElementType::F32, &1e30_f32.to_le_bytes(), &[])),
            (1, constant("other", ElementType::I32, &i32::MAX.to_le_bytes(), &[])),
            (2, constant("other", ElementType::F32, &1e-30_f32.to_le_bytes(), &[])),
            (1, constant("other", INT64, &[], &[0])),
            (1, constant("other", INT64, &[0; 16], &[2])),
        ] {
            let error = checked(other.clone(), &range(place)).unwrap_err();
            assert!(error.contains("counts by `other`, expected an integer from "), "{other:?}: {error}");
        }
        let two = checked(integer("other", 1), &[node("Range", &["0", "1"], "range")]).unwrap_err();
        assert_eq!(two, "node `range` has 2 inputs, a `Range` has 3");
    }

    #[test]
    fn bounds_that_are_computed_from_values_are_refused() {
        let thousand = || integer("other", 1000);
        let range = node("Range", &["0", "end", "1"], "range");
        let shape = |of: &str| node("Shape", &[of], "length");
        let doubled = |times: usize| {
            let mut nodes = vec![shape("ids")];
            let mut last = "length".to_owned();
            for time in 0..times {
                let next = if time + 1 == times { "end".to_owned() } else { format!("sum{time}") };
                nodes.push(node("Add", &[&last, &last], &next));
                last = next;
            }
            nodes
        };
        for nodes in [
            vec![node("Mul", &["other", "other"], "end")],
            vec![shape("ids"), node("Mul", &["length", "other"], "end")],
            vec![shape("ids"), node("Pow", &["length", "other"], "end")],
            // `ids` holds numbers that the caller chooses, and inner values may have any shape.
            vec![node("ReduceMax", &["ids"], "end")],
            vec![
                node("MatMul", &["ids", "other"], "inner"),
                shape("inner"),
                node("Identity", &["length"], "end"),
            ],
            vec![node("Concat", &["0", "ids"], "end")],
            doubled(3),
        ] {
            let error =
                checked(thousand(), &[&nodes[..], std::slice::from_ref(&range)].concat()).unwrap_err();
            assert!(error.starts_with("node `range` counts by `end`, which is not a sum of "), "{error}");
        }
        assert_eq!(checked(thousand(), &[&doubled(2)[..], &[range]].concat()), Ok(()));
        let step = [shape("ids"), node("Range", &["0", "1", "length"], "range")];
        assert!(
            checked(thousand(), &step)
                .unwrap_err()
                .contains("counts by `length`, expected an integer from 1 ")
        );
    }
}
