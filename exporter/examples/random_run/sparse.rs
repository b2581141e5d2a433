//! A backbone whose file is mostly a hole: models of any size on any disk.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Result;
use hyperloader_core::backbone::t5::{T5Config, names};
use hyperloader_core::method::MethodConfig;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::random_run::{backbone_tensor, checkpoint, write_description, write_run};

/// Rows of a matrix that are random numbers; the others are zero. The embedding has only random ones: otherwise most tokens
/// would be zero, and with them all states.
const ROWS: usize = 16;

/// As `random_run::write`, with a file of weights that is mostly a hole.
pub(crate) fn write(folder: &Path, t5: &T5Config, method: &MethodConfig, tasks: &[&str]) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let backbone = folder.join("backbone");
    write_description(&backbone, t5);
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in t5.tensors() {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}));
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let data = 8 + header.len();

    let mut file = BufWriter::new(File::create(backbone.join("model.safetensors"))?);
    file.get_ref().set_len((data + end) as u64)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut start = data;
    for (name, mut shape) in t5.tensors() {
        let bytes = 4 * shape.iter().product::<usize>();
        if shape.len() == 2 && name != names::SHARED {
            shape[0] = shape[0].min(ROWS);
        }
        file.seek(SeekFrom::Start(start as u64))?;
        for element in &backbone_tensor(&mut rng, &name, &shape) {
            file.write_all(&element.to_le_bytes())?;
        }
        start += bytes;
    }
    file.flush()?;
    write_run(folder, t5, method, tasks, &checkpoint(&mut rng, t5, method, tasks));
    Ok(())
}
