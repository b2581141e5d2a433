//! The graphs of several tasks as one graph: weights that belong to a task are stacked, and a `Gather` takes those of each
//! sentence's task.

use std::collections::HashMap;

use hyperloader_core::format::multi::{TASK_ID, draft_tags};
use hyperloader_core::format::tagger::DRAFT_TAGS;
use hyperloader_onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use hyperloader_onnx::{BuiltModel, ElementType, Weight};
use ndarray::{ArrayD, IxDyn};

use super::error::MultiError;
use crate::weights::{Layout, Part, Source, TaskGraph};

/// Begins the names of a drafter's nodes.
const DRAFTER_NODES: &str = "/drafter/";
/// Begins the names of a drafter's weights.
const DRAFTER_WEIGHTS: &str = "drafter.";

/// A drafter, taken out of the graph of its task.
struct Draft<'a> {
    nodes: Vec<NodeProto>,
    weights: Vec<Weight<Source<'a>>>,
    output: Option<ValueInfoProto>,
}

/// One graph of `graphs`, which are named by their tasks.
///
/// # Errors
/// If they differ in more than the elements of adapters and LoRA pairs.
pub(super) fn merged<'a>(graphs: Vec<(&str, TaskGraph<'a>)>) -> Result<TaskGraph<'a>, MultiError> {
    let mut drafts = Vec::new();
    let mut cores: Vec<(&str, TaskGraph<'a>)> = Vec::new();
    for (task, mut graph) in graphs {
        drafts.push(take_drafter(task, &mut graph));
        cores.push((task, graph));
    }
    let mut cores = cores.into_iter();
    let Some((first, BuiltModel { mut model, weights })) = cores.next() else {
        return Ok(BuiltModel { model: Default::default(), weights: Vec::new() });
    };
    let mut of_tasks: Vec<Vec<Weight<Source<'a>>>> = weights.into_iter().map(|weight| vec![weight]).collect();
    for (task, other) in cores {
        let error = || MultiError::Graphs { first: first.to_owned(), other: task.to_owned() };
        if other.model.graph != model.graph || other.weights.len() != of_tasks.len() {
            return Err(error());
        }
        for (weights, other) in of_tasks.iter_mut().zip(other.weights) {
            let is_same = weights.first().is_some_and(|one| one.name == other.name && one.dims == other.dims);
            if !is_same {
                return Err(error());
            }
            weights.push(other);
        }
    }
    let graph = model.graph.get_or_insert_default();
    graph.input.push(ValueInfoProto::tensor(TASK_ID, ElementType::I64, &["batch".into()]));
    let mut selection = Selection::default();
    let mut weights: Vec<Weight<Source<'a>>> = Vec::new();
    for mut of_task in of_tasks {
        match of_task.first().is_some_and(|weight| is_of_task(weight.source.part)) {
            true => weights.extend(selection.stacked(of_task)),
            false => weights.push(of_task.swap_remove(0)),
        }
    }
    selection.rewire(graph);
    for draft in drafts {
        graph.node.extend(draft.nodes);
        graph.output.extend(draft.output);
        weights.extend(draft.weights);
    }
    Ok(BuiltModel { model, weights })
}

/// Whether each task has weights of its own in this part of the model.
fn is_of_task(part: Part) -> bool {
    matches!(part, Part::Adapters | Part::Lora)
}

/// Takes the drafter out of a graph. Its names get that of the task.
fn take_drafter<'a>(task: &str, built: &mut TaskGraph<'a>) -> Draft<'a> {
    let graph = built.model.graph.get_or_insert_default();
    let renamed = |name: &str| match name.strip_prefix(DRAFTER_NODES) {
        Some(rest) => format!("/drafter.{task}/{rest}"),
        None if name == DRAFT_TAGS => draft_tags(task),
        None => match name.strip_prefix(DRAFTER_WEIGHTS) {
            Some(rest) => format!("drafter.{task}.{rest}"),
            None => name.to_owned(),
        },
    };
    let (mut nodes, others): (Vec<NodeProto>, Vec<NodeProto>) =
        std::mem::take(&mut graph.node).into_iter().partition(|node| node.name.starts_with(DRAFTER_NODES));
    graph.node = others;
    for node in &mut nodes {
        node.name = renamed(&node.name);
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = renamed(name));
    }
    let place = graph.output.iter().position(|output| output.name == DRAFT_TAGS);
    let output = place.map(|place| graph.output.remove(place));
    let output = output.map(|output| ValueInfoProto { name: renamed(&output.name), ..output });
    let (weights, others): (Vec<_>, Vec<_>) = std::mem::take(&mut built.weights)
        .into_iter()
        .partition(|weight| weight.source.part == Part::Drafter);
    built.weights = others;
    let weights =
        weights.into_iter().map(|weight| Weight { name: renamed(&weight.name), ..weight }).collect();
    Draft { nodes, weights, output }
}

/// The nodes that select the weights of each sentence's task.
#[derive(Default)]
struct Selection {
    nodes: Vec<NodeProto>,
    /// Names of the selected weights by those of the stacks.
    selected: HashMap<String, String>,
    /// Lengths of the selected vectors, by their names.
    widths: HashMap<String, usize>,
}

impl Selection {
    /// The stack of a weight of all tasks: `[tasks, ..]` for a matrix, `[tasks, 1, ..]` for a vector, so that what is selected
    /// fits states `[batch, length, ..]`.
    fn stacked<'a>(&mut self, of_tasks: Vec<Weight<Source<'a>>>) -> Option<Weight<Source<'a>>> {
        let first = of_tasks.first()?;
        let (name, dims, part) = (first.name.clone(), first.dims.clone(), first.source.part);
        let middle = if dims.len() == 1 { Some(1) } else { None };
        let stack: Vec<usize> =
            std::iter::once(of_tasks.len()).chain(middle).chain(dims.iter().copied()).collect();
        let output = format!("/task/{name}/Gather_output_0");
        self.nodes.push(NodeProto {
            name: format!("/task/{name}/Gather"),
            op_type: "Gather".to_owned(),
            input: vec![name.clone(), TASK_ID.to_owned()],
            output: vec![output.clone()],
            attribute: vec![AttributeProto::int("axis", 0)],
            ..NodeProto::default()
        });
        if let [width] = dims[..] {
            self.widths.insert(output.clone(), width);
        }
        self.selected.insert(name.clone(), output);
        let sources: Vec<Source<'a>> = of_tasks.into_iter().map(|weight| weight.source).collect();
        let (of_file, shape) = (name.clone(), stack.clone());
        let source = Source::on_demand(part, Layout::Same, move || {
            let mut elements = Vec::new();
            for source in &sources {
                let tensor = source.checked(&of_file, &dims)?;
                elements.extend(source.layout.apply(tensor.view()).iter().copied());
            }
            // Each of them has the shape `dims`.
            Ok(ArrayD::from_shape_vec(IxDyn(&shape), elements).unwrap_or_default())
        });
        Some(Weight { name, element_type: ElementType::F32, dims: stack, source })
    }

    /// Makes the nodes of `graph` read what is selected, and adds the nodes that select it.
    fn rewire(self, graph: &mut GraphProto) {
        let mut nodes = self.nodes;
        for mut node in std::mem::take(&mut graph.node) {
            for input in &mut node.input {
                if let Some(selected) = self.selected.get(input.as_str()) {
                    input.clone_from(selected);
                }
            }
            let width = node.input.get(1).and_then(|scale| self.widths.get(scale)).copied();
            match width.filter(|_| node.op_type == "LayerNormalization") {
                Some(width) => nodes.extend(norm_of_task(node, width, graph)),
                None => nodes.push(node),
            }
        }
        graph.node = nodes;
    }
}

/// A norm whose scale and offset differ from sentence to sentence: `LayerNormalization` itself takes one vector for all.
fn norm_of_task(mut norm: NodeProto, width: usize, graph: &mut GraphProto) -> [NodeProto; 3] {
    let ones = format!("const/f32/ones[{width}]");
    if !graph.initializer.iter().any(|tensor| tensor.name == ones) {
        let bytes: Vec<u8> = std::iter::repeat_n(1.0_f32.to_le_bytes(), width).flatten().collect();
        graph.initializer.push(TensorProto::from_raw(&ones, ElementType::F32, &[width], bytes.into()));
    }
    let operands = norm.input.split_off(1);
    norm.input.push(ones);
    let mut value = format!("{}/normed", norm.name);
    let result = std::mem::replace(&mut norm.output, vec![value.clone()]);
    let last = result.into_iter().next().unwrap_or_default();
    let mut operation = |op: &str, operand: Option<&String>, output: String| {
        let input = [std::mem::replace(&mut value, output.clone())].into_iter().chain(operand.cloned());
        NodeProto {
            name: format!("{}/{op}", norm.name),
            op_type: op.to_owned(),
            input: input.collect(),
            output: vec![output],
            ..NodeProto::default()
        }
    };
    let scaled = operation("Mul", operands.first(), format!("{}/scaled", norm.name));
    let shifted = operation("Add", operands.get(1), last);
    [norm, scaled, shifted]
}
