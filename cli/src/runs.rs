//! Where the runs of trainings are searched for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Name of the configuration that `hl-train` reads in the current folder if none is named.
pub const CONFIGURATION: &str = "hyperloader.toml";

/// Name of the folder of runs, unless a configuration names another.
const RUNS: &str = "runs";

/// The folder of all runs: `named`, else the one that [`CONFIGURATION`] in the current folder names, else `runs`.
///
/// # Errors
/// If the configuration is there and is not TOML.
pub fn folder_of_runs(named: Option<&Path>) -> Result<PathBuf> {
    named.map_or_else(|| configured(Path::new("")), |folder| Ok(folder.to_owned()))
}

/// The folder that the configuration in `folder` names, else `runs` in it.
fn configured(folder: &Path) -> Result<PathBuf> {
    let path = folder.join(CONFIGURATION);
    if !path.is_file() {
        return Ok(folder.join(RUNS));
    }
    let unusable = || {
        format!(
            "`{}`, which may name the folder of runs, cannot be read\nhint: name the folder with `--runs`",
            path.display()
        )
    };
    let text = std::fs::read_to_string(&path).with_context(unusable)?;
    let table: Table = text.parse().with_context(unusable)?;
    Ok(folder.join(table.get(RUNS).and_then(Value::as_str).unwrap_or(RUNS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_where_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join(CONFIGURATION), text).unwrap();
        let found = || configured(folder.path()).unwrap();
        assert_eq!(found(), folder.path().join("runs"));
        write("seed = 1\n");
        assert_eq!(found(), folder.path().join("runs"));
        write("runs = \"elsewhere/all\"\n[training]\nsteps = 1\n");
        assert_eq!(found(), folder.path().join("elsewhere/all"));
        write("runs = \"/all\"\n");
        assert_eq!(found(), Path::new("/all"));
        write("runs = \n");
        assert!(
            configured(folder.path())
                .unwrap_err()
                .to_string()
                .contains("hint: name the folder with `--runs`")
        );
        assert_eq!(folder_of_runs(Some(Path::new("here"))).unwrap(), Path::new("here"));
    }
}
