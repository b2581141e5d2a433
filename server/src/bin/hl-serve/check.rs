//! `hl-serve --check`: opens the models and prints them.

use anyhow::Result;
use hyperloader_cli::{Console, Records};
use hyperloader_server::Server;
use serde_json::Value;

use crate::args::ServeArgs;

pub(crate) fn run(args: &ServeArgs, console: &Console) -> Result<()> {
    let server = Server::open(&args.config())?;
    server.notices().iter().for_each(|notice| console.note(notice));
    let mut records = Records::new(console, args.output_format);
    for model in server.models() {
        records.write(&model, || text(&model))?;
    }
    records.finish()
}

/// `mtop: task mtop, 7 labels, ONNX Runtime 1.31.1 on cpu`
fn text(model: &Value) -> String {
    let field = |name: &str| model[name].as_str().unwrap_or_default();
    let labels = model["labels"].as_array().map_or(0, Vec::len);
    format!("{}: task {}, {labels} labels, {}", field("name"), field("task"), field("backend"))
}
