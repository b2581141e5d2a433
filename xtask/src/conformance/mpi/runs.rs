//! Comparison of run folders.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

/// Compares all files of two runs but the event file and the report, whose times differ, and returns their number. Of
/// `metrics.jsonl` and `outcome.json`, the times and the run's path are left out.
pub(super) fn compare(a: &Path, b: &Path) -> Result<usize> {
    let (a, b) = (files(a)?, files(b)?);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&a) == names(&b), "the runs have other files: {:?} and {:?}", names(&a), names(&b));
    for (name, content) in &a {
        ensure!(*content == b[name], "`{name}` differs");
    }
    let complete = ["manifest.json", "metrics.jsonl", "outcome.json", "calibration.json"];
    ensure!(complete.iter().all(|name| a.contains_key(*name)), "the runs are not complete: {:?}", names(&a));
    ensure!(names(&a).iter().any(|name| name.ends_with(".optimizer.safetensors")), "no optimizer state");
    Ok(a.len())
}

fn files(run: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for folder in ["", "checkpoints", "plots"] {
        for entry in fs::read_dir(run.join(folder))? {
            let path = entry?.path();
            let name = path.strip_prefix(run)?.display().to_string();
            let has_times = name.starts_with("events.") || name == "report.html" || name == ".lock";
            if path.is_dir() || has_times {
                continue;
            }
            let content = fs::read(&path)?;
            let is_record = name == "metrics.jsonl" || name == "outcome.json";
            found.insert(name, if is_record { without_times(&content)? } else { content });
        }
    }
    Ok(found)
}

fn without_times(lines: &[u8]) -> Result<Vec<u8>> {
    let mut kept = String::new();
    for line in std::str::from_utf8(lines)?.lines() {
        let mut line: Value = serde_json::from_str(line)?;
        if let Some(fields) = line.as_object_mut() {
            fields.retain(|name, _| !["seconds", "train_seconds", "run"].contains(&name.as_str()));
        }
        kept += &format!("{line}\n");
    }
    Ok(kept.into_bytes())
}
