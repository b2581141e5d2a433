//! Tags a sentence with an exported tagger and prints its spans.
//!
//! ```sh
//! cargo run --example tag -- mtop.onnx "set an alarm for 7 am"
//! ```
#![allow(clippy::print_stdout, reason = "the result is data on stdout")]

use std::error::Error;

use hyperloader_runtime::{Tagger, TaggerOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let [model, sentence] = <[String; 2]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "expected a model and a sentence")?;
    let tagger = Tagger::open(model, &TaggerOptions::default())?;
    for tagged in tagger.tag(&[sentence])? {
        for span in tagged?.spans {
            println!("{}..{} {} `{}`", span.start, span.end, span.label, span.text);
        }
    }
    Ok(())
}
