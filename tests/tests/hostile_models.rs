//! Models whose constants and attributes were changed: `hl-run` refuses them or tags, with one error line and no crash, in bounded time.
#![allow(clippy::print_stdout, reason = "a long run tells how much was tried")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use hyperloader_onnx::proto::{GraphProto, ModelProto};
use hyperloader_onnx::{ElementType, decode_model};
use hyperloader_tests::{Workplace, fixture};
use prost::Message;

/// A call that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Models that are tried in the test suite.
const QUICK: usize = 24;

/// Numbers that a changed constant or attribute gets.
const NUMBERS: [i64; 10] = [0, -1, 1, 2, 3, 17, -65_536, 1 << 20, i32::MAX as i64, i64::MIN];

fn model() -> ModelProto {
    let path = fixture("format/2/tagger.onnx");
    decode_model(std::fs::read(&path).unwrap().into(), &path).unwrap()
}

/// A place in a graph that holds an integer.
#[derive(Debug, Clone, Copy)]
enum Place {
    Constant { tensor: usize, element: usize },
    Attribute { node: usize, attribute: usize },
    Listed { node: usize, attribute: usize, element: usize },
}

fn places(graph: &GraphProto) -> Vec<Place> {
    let mut places = Vec::new();
    for (tensor, found) in graph.initializer.iter().enumerate() {
        let is_small = found.data_type == ElementType::I64.code() && found.raw_data.len() <= 64;
        places.extend(
            (0..found.raw_data.len() / 8)
                .filter(|_| is_small)
                .map(|element| Place::Constant { tensor, element }),
        );
    }
    for (node, found) in graph.node.iter().enumerate() {
        for (attribute, found) in found.attribute.iter().enumerate() {
            places.extend(found.i.map(|_| Place::Attribute { node, attribute }));
            places.extend((0..found.ints.len()).map(|element| Place::Listed { node, attribute, element }));
        }
    }
    places
}

fn change(graph: &mut GraphProto, place: Place, number: i64) {
    match place {
        Place::Constant { tensor, element } => {
            let raw = &mut graph.initializer[tensor].raw_data;
            let mut bytes = raw.to_vec();
            bytes[8 * element..8 * element + 8].copy_from_slice(&number.to_le_bytes());
            *raw = bytes.into();
        }
        Place::Attribute { node, attribute } => graph.node[node].attribute[attribute].i = Some(number),
        Place::Listed { node, attribute, element } => {
            graph.node[node].attribute[attribute].ints[element] = number
        }
    }
}

/// `HYPERLOADER_FUZZ_SECONDS` tries models for so long instead of a few.
#[test]
fn a_changed_number_never_crashes_or_hangs_tract() {
    let whole = model();
    let places = places(whole.graph.as_ref().unwrap());
    assert!(places.len() > 50, "{}", places.len());
    let seconds = std::env::var("HYPERLOADER_FUZZ_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    let (began, workplace) = (Instant::now(), Workplace::new());
    let (mut tried, mut refused) = (0, 0);
    let cases = places.iter().flat_map(|place| NUMBERS.map(|number| (*place, number)));
    let mut cases: Vec<(Place, i64)> = cases.collect();
    // The same order every time, spread over the graph: 7,919 is a prime.
    let count = cases.len();
    let order: Vec<usize> = (0..count).map(|k| k * 7919 % count).collect();
    cases = order.into_iter().map(|at| cases[at]).collect();
    for (place, number) in cases {
        let enough = match seconds {
            Some(seconds) => began.elapsed() > Duration::from_secs(seconds),
            None => tried >= QUICK,
        };
        if enough {
            break;
        }
        let mut changed = whole.clone();
        change(changed.graph.as_mut().unwrap(), place, number);
        workplace.write("changed.onnx", changed.encode_to_vec());
        let mut command = workplace.program("hl-run");
        command.args([
            "--backend",
            "tract",
            "--threads",
            "2",
            "--quiet",
            "--model",
            "changed.onnx",
            "set an alarm",
        ]);
        let output = command.timeout(PATIENCE).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("{place:?} = {number}: killed\n{log}"));
        assert!(!log.contains("panicked at"), "{place:?} = {number}:\n{log}");
        assert_eq!(code == 0, !log.contains("error: "), "{place:?} = {number}:\n{log}");
        tried += 1;
        refused += usize::from(code != 0);
    }
    println!("{tried} of {count} models, {refused} refused, {:.0} s", began.elapsed().as_secs_f64());
}
