//! Brings a task of a run to a larger T5's shape without changing what it computes: the work of a T5-base, the tags of
//! the run. For measurements (`bench/decode`); no part of the product.
//!
//! ```text
//! $ cargo run --release --package hyperloader-exporter --example widen -- --run runs/nano --task mtop wide
//! $ find wide -type f
//! wide/hf/config.json
//! wide/hf/generation_config.json
//! wide/hf/model.safetensors
//! wide/hf/tokenizer.json
//! wide/hf/tokenizer_config.json
//! wide/mtop.onnx
//! ```

mod wide;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use hyperloader_core::backbone::t5::{Stack, T5Backbone, T5Config};
use hyperloader_core::backbone::{CONFIG, TOKENIZER};
use hyperloader_core::files::write_atomic;
use hyperloader_core::format::tagger::TaggerMetadata;
use hyperloader_core::run::{Run, Which};
use hyperloader_core::weights::tensors::{Tensors, write_tensors};
use hyperloader_exporter::t5::T5Model;
use hyperloader_exporter::{Exporter, Precision, write_t5};
use serde_json::{Value, json};

use crate::wide::Widening;

/// Bring a task of a run to a larger T5's shape without changing what it computes
///
/// Writes OUT/hf, a plain T5 in Hugging Face's layout with LoRA folded in, and OUT/TASK.onnx, a file for hl-run.
#[derive(Debug, Parser)]
#[command(name = "widen")]
struct Args {
    /// Where to write
    out: PathBuf,

    /// The run's folder
    #[arg(long, value_name = "DIR")]
    run: PathBuf,

    /// The task
    #[arg(long)]
    task: String,

    /// The published T5 whose widths, heads and depth are taken
    #[arg(long, default_value = "t5-base", value_name = "NAME")]
    shape: String,

    /// What the large matrices of OUT/TASK.onnx are stored as
    #[arg(long, default_value_t)]
    precision: Precision,

    /// Leave the run's adapters out of OUT/hf, which is then another model; OUT/TASK.onnx has them
    #[arg(long)]
    drop_adapters: bool,

    /// The backbone's folder, if it is not where the run left it
    #[arg(long, value_name = "DIR")]
    backbone: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let exporter = Exporter::open(Run::open(&args.run)?, Which::Best, args.backbone.as_deref())?;
    let task = exporter.run().task(&args.task)?;
    let narrow = exporter.t5_model(task)?;
    let metadata = exporter.metadata(task)?;
    let widening = Widening::new(&narrow, &T5Config::preset(&args.shape)?)?;
    if widening.has_adapters() && !args.drop_adapters {
        bail!(
            "run `{}` has adapters, which a plain T5 cannot hold\nhint: `--drop-adapters` leaves them out of `{}`",
            args.run.display(),
            args.out.join("hf").display(),
        );
    }
    let folder = args.out.join("hf");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    write_hugging_face(&folder, widening.config(), &widening.tensors()?, &metadata.tokenizer)?;

    let legacy_bias = widening.config().cross_attention_relative_bias;
    let wide = T5Model::new(T5Backbone::open(&folder, legacy_bias)?, Tensors::new(), widening.adapters())
        .with_drafter(widening.drafter());
    let metadata = TaggerMetadata { decoder_layers: wide.config().layers(Stack::Decoder), ..metadata };
    let file = args.out.join(format!("{}.onnx", task.name));
    Ok(write_t5(&wide, &metadata, &args.precision.into(), &file)?)
}

/// Writes the files of a T5's folder that transformers, optimum and CTranslate2 require.
fn write_hugging_face(folder: &Path, config: &T5Config, tensors: &Tensors, tokenizer: &str) -> Result<()> {
    write_tensors(&folder.join("model.safetensors"), tensors)?;
    let json = |name: &str, value: &Value| write_text(&folder.join(name), &format!("{value:#}\n"));
    json(CONFIG, &hugging_face_config(config)?)?;
    json(
        "generation_config.json",
        &json!({
            "decoder_start_token_id": config.decoder_start_token_id,
            "eos_token_id": config.eos_token_id,
            "pad_token_id": config.pad_token_id,
        }),
    )?;
    json(
        "tokenizer_config.json",
        &json!({
            "tokenizer_class": "T5TokenizerFast",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "extra_ids": 100,
            "model_max_length": 512,
        }),
    )?;
    write_text(&folder.join(TOKENIZER), tokenizer)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(write_atomic(path, |out| out.write_all(text.as_bytes()))?)
}

/// `config` with the other fields that transformers requires.
fn hugging_face_config(config: &T5Config) -> Result<Value> {
    let mut fields = serde_json::to_value(config)?;
    let form = config.feed_forward_proj;
    let more = json!({
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": true,
        "use_cache": true,
        "initializer_factor": 1.0,
        "dense_act_fn": form.activation_name(),
        "is_gated_act": form.is_gated(),
        "dtype": "float32",
    });
    if let (Some(fields), Some(more)) = (fields.as_object_mut(), more.as_object()) {
        fields.extend(more.clone());
    }
    Ok(fields)
}
