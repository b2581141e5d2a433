//! A backbone as unlike T5 v1.0 as Hugging Face stores them goes through the whole chain: v1.1, a head of its own, stacks
//! of different depth, float16, shards, the configuration of transformers 5.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

#[path = "../../exporter/tests/common/random_run.rs"]
mod random_run;

use std::collections::BTreeMap;
use std::path::Path;

use hyperloader_core::backbone::t5::{FeedForward, T5Backbone, T5Config};
use hyperloader_core::method::MethodConfig;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::weights::tensors::TensorFile;
use hyperloader_exporter::materialise::task_weights;
use hyperloader_exporter::t5::{Form, Reference, T5Model};
use hyperloader_tests::{Workplace, fixture, tiny_config};
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::{Mode, T5Tagger};
use hyperloader_trainer::parameters::{Parameters, to_host};
use ndarray::Array2;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tch::{Device, Tensor};

/// Rows of the embedding: exactly the tokenizer's tokens.
const ROWS: usize = 32_100;

fn t5() -> T5Config {
    T5Config {
        vocab_size: ROWS,
        d_model: 32,
        d_kv: 8,
        d_ff: 48,
        num_layers: 2,
        num_decoder_layers: Some(3),
        num_heads: 3,
        feed_forward_proj: FeedForward::GatedGelu,
        tie_word_embeddings: false,
        ..T5Config::preset("t5-nano").unwrap()
    }
}

/// Stores the weights of `folder` again, as float16 in two shards with an index, and the configuration as transformers 5.
fn shard(folder: &Path) {
    let single = folder.join("model.safetensors");
    let tensors = TensorFile::open(&single).unwrap().read_all().unwrap();
    let mut map = BTreeMap::new();
    for part in 0..2 {
        let file = format!("model-0000{}-of-00002.safetensors", part + 1);
        let mut stored = Vec::new();
        for (name, tensor) in tensors.iter().skip(part).step_by(2) {
            let bytes: Vec<u8> = tensor.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
            stored.push((name, tensor.shape().to_vec(), bytes));
            map.insert(name, file.clone());
        }
        let views = stored
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap()));
        std::fs::write(folder.join(file), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map });
    std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    std::fs::remove_file(single).unwrap();
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    config["tie_word_embeddings"] = true.into();
    config["scale_decoder_outputs"] = false.into();
    std::fs::write(path, config.to_string()).unwrap();
}

/// Largest difference between the trainer's logits and those of the folded model in double precision.
fn difference(run: &Run, task: &str) -> f64 {
    let tensors = run.read(run.checkpoint(Which::Last).unwrap()).unwrap();
    let backbone = run.backbone(None).unwrap().downcast::<T5Backbone>().unwrap();
    let method = &run.manifest.method;
    let names: Vec<String> = run.manifest.tasks.iter().map(|t| t.name.clone()).collect();
    let parameters = Parameters::from_tensors(&tensors, Device::Cpu);
    let tagger =
        T5Tagger::new(&backbone, method, &names, Start::Checkpoint(parameters), Device::Cpu).unwrap();
    let source =
        Array2::from_shape_fn((2, 7), |(row, at)| 5 + (4111 * row as i64 + 977 * at as i64) % 32_000);
    let target = Array2::from_shape_fn((2, 5), |(row, at)| 32_099 - (row * 5 + at) as i64);
    let mask = Array2::<i64>::ones(source.dim());
    let tensor = |a: &Array2<i64>| {
        let shape = [a.nrows() as i64, a.ncols() as i64];
        Tensor::from_slice(a.as_slice().unwrap()).reshape(shape)
    };
    let trained = tch::no_grad(|| {
        let (t5, weights, mask) = (&tagger.t5, tagger.task_weights(task).unwrap(), tensor(&mask));
        let encoded = t5.encode(&weights, &tensor(&source), &mask, Mode::Evaluation);
        t5.logits(&t5.decode(&weights, &tensor(&target), &encoded, &mask, Mode::Evaluation))
    });
    let generated = task_weights(method, &run.manifest.backbone_config().shape(), &tensors, task).unwrap();
    let model = T5Model::new(*backbone, tensors.clone(), generated);
    let reference = Reference::new(&model, Form::Folded);
    let encoded = reference.encode(&source, &mask).unwrap();
    let folded = reference.decode(&encoded, &mask, &target).unwrap().into_rows();
    let trained = to_host(&trained);
    assert_eq!(trained.shape(), [2, 5, ROWS]);
    assert_eq!(folded.dim(), (10, ROWS));
    let pairs = trained.iter().zip(&folded);
    pairs.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_sharded_float16_v1_1_is_trained_exported_and_run() {
    let place = Workplace::new();
    random_run::write(&place.path("random"), &t5(), &MethodConfig::default(), &["mtop"]);
    shard(&place.path("random/backbone"));
    let nano = fixture("backbones/t5-nano");
    place.write("hyperloader.toml", tiny_config().replace(&*nano.to_string_lossy(), "random/backbone"));
    let arguments = ["--steps", "12", "--threads", "1", "--quiet", "--name", "gated"];
    place.program("hl-train").args(arguments).assert().success();

    let run = Run::open(&place.path("runs/gated")).unwrap();
    let trained_on = run.manifest.t5().unwrap();
    assert_eq!((trained_on.tie_word_embeddings, trained_on.num_decoder_layers), (false, Some(3)));
    let difference = difference(&run, "atis");
    println!("trainer un-folded vs folded: {difference:.1e}");
    assert!(difference <= 1e-4, "{difference}");

    // The export verifies the file in both backends against the folded model.
    place.program("hl-export").args(["--task", "atis", "--run", "runs/gated"]).assert().success();
    let run_in = |backend: &str| {
        let mut run = place.program("hl-run");
        run.args(["--model", "atis.onnx", "--backend", backend, "--output-format", "jsonl"]);
        run.arg("show me flights from boston to denver");
        let output = run.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run_in("ort"), run_in("tract"));

    // Another shard of the same shapes is another backbone.
    let shard = place.path("random/backbone/model-00002-of-00002.safetensors");
    let mut bytes = std::fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let message = run.backbone(None).unwrap_err().to_string();
    assert!(message.contains("model.safetensors.index.json` is damaged or was replaced"), "{message}");
}
