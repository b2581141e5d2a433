//! Tags a JSON list of texts with the library and prints what was found, as JSON by unit of offsets.
//!
//! `cargo xtask conformance spans` runs it: `spans MODEL TEXTS`.

use std::error::Error;
use std::fs;

use hyperloader_runtime::{Answer, OffsetUnit, Tagger, TaggerOptions};
use serde_json::{Map, Value, json};

const UNITS: [(&str, OffsetUnit); 3] =
    [("chars", OffsetUnit::Chars), ("bytes", OffsetUnit::Bytes), ("utf16", OffsetUnit::Utf16)];

fn main() -> Result<(), Box<dyn Error>> {
    let [model, texts] = <[String; 2]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "expected a model and a file of texts")?;
    let texts: Vec<String> = serde_json::from_str(&fs::read_to_string(texts)?)?;
    let tagger = Tagger::open(model, &TaggerOptions { scores: true, ..TaggerOptions::default() })?;
    let tagged = tagger.tag(&texts)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut found = Map::new();
    for (name, unit) in UNITS {
        let objects = tagged.iter().map(|tagged| {
            let mut object = serde_json::to_value(Answer::new(tagged, unit))?;
            object["text"] = json!(tagged.text);
            Ok(object)
        });
        found.insert(name.to_owned(), Value::Array(objects.collect::<Result<_, serde_json::Error>>()?));
    }
    println!("{}", Value::Object(found));
    Ok(())
}
