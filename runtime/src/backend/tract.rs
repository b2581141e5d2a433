//! tract, compiled in; runs on the CPU.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use hyperloader_onnx::Bytes;
use hyperloader_onnx::proto::ModelProto;
use prost::Message;
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceModelExt, IntoTValue, RunOptions, TValue, TVec, Tensor, TypedSimplePlan,
};
use tract_onnx::tract_core::internal::{IntoArcTensor, TractResult, TypedModel, TypedModelPatch, tvec};
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_core::ops::matmul::pack::OptMatMulPack;

use super::value::{Elements, Storage};
use super::{BackendError, BackendKind, BackendOptions, Device, Graph, Value};

const KIND: BackendKind = BackendKind::Tract;

/// Name and device.
pub(super) const DESCRIPTION: &str = "tract on cpu";

/// How plans are to be made.
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
                reason: "it runs on the CPU only".into(),
            });
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let executor = match options.threads.unwrap_or_else(cores) {
            0 | 1 => Executor::SingleThread,
            threads => caught(|| Ok(Executor::multithread(threads)))
                .map_err(|reason| BackendError::Open { kind: KIND, reason })?,
        };
        Ok(Self { executor })
    }

    pub(super) fn open(&self, model: &ModelProto) -> Result<Box<dyn Graph>, BackendError> {
        self.open_bytes(model.encode_to_vec().into())
    }

    pub(super) fn open_file(&self, path: &Path) -> Result<Box<dyn Graph>, BackendError> {
        let bytes = std::fs::read(path).map_err(|error| BackendError::Open {
            kind: KIND,
            reason: format!("cannot read `{}`: {error}", path.display()),
        })?;
        self.open_bytes(bytes.into())
    }

    /// Dimensions stay symbols: one plan serves all batches and lengths.
    fn open_bytes(&self, bytes: Bytes) -> Result<Box<dyn Graph>, BackendError> {
        let options = RunOptions { executor: Some(self.executor.clone()), ..RunOptions::default() };
        let open = || {
            let proto = tract_onnx::pb::ModelProto::decode(bytes).map_err(|error| error.to_string())?;
            let graph = proto.graph.as_ref().ok_or("the model holds no graph")?;
            let inputs = graph.input.iter().map(|input| input.name.clone()).collect();
            let model =
                tract_onnx::onnx().model_for_proto_model(&proto).map_err(|error| format!("{error:#}"))?;
            // Optimising makes another copy of the weights; the file's is no longer needed then.
            drop(proto);
            let plan = model
                .into_optimized()
                .and_then(pack_shared_factors)
                .and_then(|model| TypedSimplePlan::new_with_options(model, &options))
                .map_err(|error| format!("{error:#}"))?;
            Ok(TractGraph { inputs, plan })
        };
        match caught(open) {
            Ok(graph) => Ok(Box::new(graph)),
            Err(reason) => Err(BackendError::Open { kind: KIND, reason }),
        }
    }
}

/// Lays out constant factors of products once. tract does so when it optimises, but not for a constant that others read
/// too: the embedding, which is also the head, would be laid out again at each step.
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

/// tract indexes and unwraps where a graph is not what it expects.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        Err(message.unwrap_or_else(|| "it panicked".to_owned()))
    })
}

#[derive(Debug)]
struct TractGraph {
    inputs: Vec<String>,
    plan: Arc<TypedSimplePlan>,
}

impl Graph for TractGraph {
    fn run(&mut self, inputs: &[(&str, &Value)]) -> Result<Vec<Value>, BackendError> {
        let error = |reason| BackendError::Run { kind: KIND, reason };
        let find = |wanted: &String| {
            let found = inputs.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| *value).ok_or_else(|| error(format!("no input `{wanted}` was given")))
        };
        let values = self.inputs.iter().map(|name| input(find(name)?)).collect::<Result<TVec<_>, _>>()?;
        let outputs =
            caught(|| self.plan.run(values).map_err(|reason| format!("{reason:#}"))).map_err(error)?;
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
    let tensor = tensor.map_err(|error| BackendError::Run { kind: KIND, reason: format!("{error:#}") })?;
    Ok(tensor.into_tvalue())
}

pub(super) fn elements(value: &TValue) -> Result<Elements<'_>, BackendError> {
    let other =
        || BackendError::ElementType { expected: "f32 or i64", found: format!("{:?}", value.datum_type()) };
    let plain = value.try_as_plain_ram().map_err(|_| other())?;
    match value.datum_type() {
        DatumType::F32 => plain.as_slice().map(Elements::F32).map_err(|_| other()),
        DatumType::I64 => plain.as_slice().map(Elements::I64).map_err(|_| other()),
        _ => Err(other()),
    }
}
