//! tract, compiled in; runs on the CPU.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use hyperloader_core::device::Device;
use hyperloader_onnx::proto::ModelProto;
use hyperloader_onnx::{Bytes, ElementType, Piece, WeightFile, pieces};
use prost::Message;
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::{
    Framework, InferenceModelExt, IntoTValue, RunOptions, TValue, TVec, Tensor, TypedSimplePlan,
};
use tract_onnx::tract_core::internal::{IntoArcTensor, TractResult, TypedModel, TypedModelPatch, tvec};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::matmul::pack::OptMatMulPack;

use super::error::{BackendError, Cause};
use super::graph::Graph;
use super::options::{BackendKind, BackendOptions};
use super::panics::{THREADS, caught};
use super::runtime::{Inputs, Runtime};
use super::value::{Elements, Storage, Value};

const KIND: BackendKind = BackendKind::Tract;
/// Bytes of the weights that are in memory at a time where a file is run once; tract has up to four copies of them.
const PIECE: usize = 24 << 20;

/// The settings of tract's plans.
#[derive(Debug)]
pub(super) struct Tract {
    executor: Executor,
}

impl Tract {
    pub(super) fn load(options: &BackendOptions) -> Result<Self, BackendError> {
        if let Device::Cuda(_) = options.device {
            return Err(BackendError::Device {
                kind: KIND,
                device: options.device,
                source: "it runs on the CPU only".into(),
            });
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let executor = match options.threads.unwrap_or_else(cores) {
            0 | 1 => Executor::SingleThread,
            threads => caught(|| Ok(Executor::multithread_with_name(threads, THREADS)))
                .map_err(|source| BackendError::Open { kind: KIND, source })?,
        };
        Ok(Self { executor })
    }

    fn open_model(&self, model: &ModelProto) -> Result<Box<dyn Graph>, BackendError> {
        let bfloat16 = ElementType::BF16.code();
        let mut initializers = model.graph.iter().flat_map(|graph| &graph.initializer);
        match initializers.any(|tensor| tensor.data_type == bfloat16) {
            true => Err(BackendError::Unsupported { kind: KIND, reason: "it has no bfloat16" }),
            false => self.open_bytes(model.encode_to_vec().into()),
        }
    }

    /// Calls `run` with each of `pieces`, opened, in order. While a piece runs, the next one is opened.
    fn with_opened(
        &self,
        pieces: Vec<Piece>,
        mut run: impl FnMut(OpenedPiece) -> Result<(), BackendError>,
    ) -> Result<(), BackendError> {
        thread::scope(|scope| {
            let (sender, opened) = mpsc::sync_channel(0);
            scope.spawn(move || {
                for Piece { model, inputs, outputs } in pieces {
                    let piece = self.open_model(&model).map(|graph| OpenedPiece { graph, inputs, outputs });
                    // Nobody receives any more after an error.
                    if sender.send(piece).is_err() {
                        break;
                    }
                }
            });
            opened.into_iter().try_for_each(|piece| run(piece?))
        })
    }

    /// Dimensions stay symbolic: one plan serves all batch sizes and lengths.
    fn open_bytes(&self, bytes: Bytes) -> Result<Box<dyn Graph>, BackendError> {
        let options = RunOptions { executor: Some(self.executor.clone()), ..RunOptions::default() };
        let open = || {
            let proto = tract_onnx::pb::ModelProto::decode(bytes)?;
            let graph = proto.graph.as_ref().ok_or("the model holds no graph")?;
            let inputs = graph.input.iter().map(|input| input.name.clone()).collect();
            let model = tract_onnx::onnx().model_for_proto_model(&proto)?;
            // Optimizing copies the weights; the copy in `proto` is no longer needed.
            drop(proto);
            let model = pack_shared_factors(model.into_optimized()?)?;
            Ok(TractGraph { inputs, plan: TypedSimplePlan::new_with_options(model, &options)? })
        };
        match caught(open) {
            Ok(graph) => Ok(Box::new(graph)),
            Err(source) => Err(BackendError::Open { kind: KIND, source }),
        }
    }
}

impl Runtime for Tract {
    fn kind(&self) -> BackendKind {
        KIND
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn description(&self) -> String {
        "tract on cpu".to_owned()
    }

    fn open(
        &self,
        model: &ModelProto,
        _: Option<&WeightFile>,
    ) -> Result<(Box<dyn Graph>, Option<String>), BackendError> {
        Ok((self.open_model(model)?, None))
    }

    fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError> {
        self.open_model(&read(path)?)
    }

    fn run_file(&self, path: &Path, passes: &[Inputs<'_>]) -> Result<Vec<Vec<Value>>, BackendError> {
        let model = read(path)?;
        let mut computed: Vec<HashMap<String, Value>> = passes.iter().map(|_| HashMap::new()).collect();
        let pieces = pieces(&model, PIECE).map_err(open_error)?;
        self.with_opened(pieces, |OpenedPiece { mut graph, inputs, outputs }| {
            for (given, computed) in passes.iter().zip(&mut computed) {
                let earlier = inputs.iter().filter_map(|name| Some((name.as_str(), computed.get(name)?)));
                // The graph names an input that is in neither.
                let inputs: Inputs<'_> = given.iter().copied().chain(earlier).collect();
                let found = graph.run(&inputs)?;
                computed.extend(outputs.iter().cloned().zip(found));
            }
            Ok(())
        })?;
        let outputs = model.graph.iter().flat_map(|graph| &graph.output);
        let in_order = |mut computed: HashMap<String, Value>| {
            let output = |name: &str| computed.remove(name).ok_or_else(|| missing_output(name));
            outputs.clone().map(|value| value.name.as_str()).map(output).collect()
        };
        computed.into_iter().map(in_order).collect()
    }
}

/// A part of a model that can be run.
struct OpenedPiece {
    graph: Box<dyn Graph>,
    /// Names of its inputs.
    inputs: Vec<String>,
    /// Names of its outputs, in the order in which the graph gives them.
    outputs: Vec<String>,
}

/// The error of an output that no piece computes.
fn missing_output(name: &str) -> BackendError {
    BackendError::Run { kind: KIND, source: format!("output `{name}` is missing").into() }
}

/// The model in the file `path`.
fn read(path: &Path) -> Result<ModelProto, BackendError> {
    WeightFile::open(path).and_then(|file| file.model()).map_err(open_error)
}

fn open_error(error: impl Into<Cause>) -> BackendError {
    BackendError::Open { kind: KIND, source: error.into() }
}

/// Packs constant factors of products once. When tract optimizes, it packs a constant only if nothing else reads it: the
/// embedding, which is also the output layer, would be packed again in each run.
fn pack_shared_factors(mut model: TypedModel) -> TractResult<TypedModel> {
    let packs: Vec<usize> =
        model.nodes().iter().filter(|node| node.op_is::<OptMatMulPack>()).map(|node| node.id).collect();
    for id in packs {
        let node = model.node(id);
        let Some(factor) = model.outlet_fact(node.inputs[0])?.konst.clone() else { continue };
        let Some(packed) = node.op.eval_out_of_plan(tvec!(factor.into_tvalue()))? else { continue };
        let fact = model.outlet_fact(id.into())?.exotic_fact.clone();
        let constant = Const::new_with_opt_exotic_fact(packed[0].clone().into_arc_tensor(), fact)?;
        let mut patch = TypedModelPatch::default();
        let wire = patch.wire_node(&node.name, constant, &[])?[0];
        patch.shunt_outside(&model, id.into(), wire)?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

#[derive(Debug)]
struct TractGraph {
    inputs: Vec<String>,
    plan: Arc<TypedSimplePlan>,
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, BackendError> {
        let error = |source: Cause| BackendError::Run { kind: KIND, source };
        let find = |wanted: &String| {
            let found = inputs.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| *value).ok_or_else(|| error(format!("input `{wanted}` is missing").into()))
        };
        let values = self.inputs.iter().map(|name| input(find(name)?)).collect::<Result<TVec<_>, _>>()?;
        let outputs = caught(|| Ok(self.plan.run(values)?)).map_err(error)?;
        Ok(outputs.into_iter().map(|value| Value(Storage::Tract(value))).collect())
    }
}

fn input(value: &Value) -> Result<TValue, BackendError> {
    if let Storage::Tract(value) = &value.0 {
        return Ok(value.clone());
    }
    let shape = value.shape();
    let tensor = match value.elements()? {
        Elements::F32(elements) => Tensor::from_shape(&shape, elements),
        Elements::I64(elements) => Tensor::from_shape(&shape, elements),
    };
    let tensor = tensor.map_err(|error| BackendError::Run { kind: KIND, source: error.into() })?;
    Ok(tensor.into_tvalue())
}
