//! The most memory that a measured program took; a module of the examples that benches run.

use std::fs;

use anyhow::{Context, Result};

/// Most memory that this process had resident, in KiB.
pub(crate) fn kib() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("`/proc/self/status` cannot be read")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no `VmHWM`")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
