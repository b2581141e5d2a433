//! `hl-run doctor`: what is installed on this machine, and what is missing.

use std::env;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, Exit, OutputFormat};
use hyperloader_core::causes::with_causes;
use hyperloader_core::files::check_output_folder;
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Installed, Versions};
use serde::Serialize;

/// Report what is installed on this machine, and what is missing
///
/// Lists the backends with their versions, libraries and devices, whether ONNX Runtime's library has a version that fits the
/// program, the number of threads, and whether a cache folder can be written. Nothing is tagged and nothing is changed. The exit code is 1 if no backend can run a model.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  hl-run doctor
  hl-run doctor --ort-lib /opt/onnxruntime/lib/libonnxruntime.so --output-format json")]
pub(crate) struct DoctorArgs {
    /// ONNX Runtime's library [default: `ORT_DYLIB_PATH`, else searched for]
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,

    /// Cache folder that is checked, as `--cache=DIR` would use it [default: none]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,

    /// Format of the data on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    output_format: OutputFormat,
}

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    program: String,
    system: String,
    threads: usize,
    backends: Vec<BackendReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CacheReport>,
    /// What to install or to change.
    advice: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BackendReport {
    name: &'static str,
    usable: bool,
    /// Name, version and device, or the reason why it cannot be used.
    description: String,
    devices: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<PathBuf>,
    /// Other libraries that were found.
    other_libraries: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<VersionReport>,
    notices: Vec<String>,
}

/// Versions of the library of a backend.
#[derive(Debug, Serialize)]
struct VersionReport {
    #[serde(flatten)]
    versions: Versions,
    /// All of this in words.
    description: String,
}

#[derive(Debug, Serialize)]
struct CacheReport {
    folder: PathBuf,
    usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) fn run(args: &DoctorArgs, console: &Console) -> Result<Exit> {
    let options = BackendOptions { ort_lib: args.ort_lib.clone(), ..BackendOptions::default() };
    let mut advice = Vec::new();
    let backends: Vec<BackendReport> =
        Backend::installed(&options).into_iter().map(|installed| backend(installed, &mut advice)).collect();
    let cache = args.cache.clone().map(cache);
    if cache.as_ref().is_some_and(|cache| !cache.usable) {
        advice.push("choose a cache folder that can be written".to_owned());
    }
    let usable = backends.iter().any(|backend| backend.usable);
    let report = Report {
        program: format!("hl-run {}", env!("CARGO_PKG_VERSION")),
        system: format!("{} {}", env::consts::OS, env::consts::ARCH),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        backends,
        cache,
        advice,
    };
    console.record(args.output_format, &report, || text(&report))?;
    Ok(if usable { Exit::Success } else { Exit::UserError })
}

/// The report on a backend; what it needs goes to `advice`.
fn backend(installed: Installed, advice: &mut Vec<String>) -> BackendReport {
    let Installed { kind, description, notices, libraries, loaded, versions, devices } = installed;
    let usable = description.is_ok();
    let description = description.unwrap_or_else(|error| {
        let message = with_causes(&error);
        let (reason, hints): (Vec<&str>, Vec<&str>) =
            message.lines().partition(|line| !line.starts_with("hint: "));
        advice.extend(hints.iter().map(|hint| hint.trim_start_matches("hint: ").to_owned()));
        reason.join(" ")
    });
    let found_one = !libraries.is_empty();
    let other_libraries = libraries.into_iter().filter(|library| Some(library) != loaded.as_ref()).collect();
    let name = match kind {
        BackendKind::Ort => "ort",
        BackendKind::Tract => "tract",
        BackendKind::Auto => "auto",
    };
    let versions = versions.map(|versions| version_report(versions, found_one));
    BackendReport { name, usable, description, devices, library: loaded, other_libraries, versions, notices }
}

/// `found_one` says whether there is any library.
fn version_report(versions: Versions, found_one: bool) -> VersionReport {
    let found = match (&versions.found, versions.fits) {
        (Some(found), Some(true)) if versions.is_newer_than_tested() => {
            format!("found {found}, which is newer than the tested version and should fit")
        }
        (Some(found), Some(true)) => format!("found {found}, which fits"),
        (Some(found), Some(false)) => format!("found {found}, which is too old"),
        (Some(found), None) => format!("found {found}"),
        (None, Some(_)) => "found a library that fits, of unknown version".to_owned(),
        (None, None) if found_one => "found a library of unknown version that cannot be loaded".to_owned(),
        (None, None) => "found none".to_owned(),
    };
    let Versions { built_for, tested_with, .. } = &versions;
    let description =
        format!("built for ONNX Runtime {built_for} and newer, tested with {tested_with}; {found}");
    VersionReport { versions, description }
}

fn cache(folder: PathBuf) -> CacheReport {
    let error = check_output_folder(&folder).err().map(|error| with_causes(&error));
    CacheReport { folder, usable: error.is_none(), error }
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        report.program.clone(),
        format!("system   {}", report.system),
        format!("threads  {}", report.threads),
    ];
    for backend in &report.backends {
        let mark = if backend.usable { "" } else { "not usable: " };
        lines.push(format!("{:<8} {mark}{}", backend.name, backend.description));
        lines.extend(backend.versions.iter().map(|versions| format!("  version  {}", versions.description)));
        if !backend.devices.is_empty() {
            lines.push(format!("  devices  {}", backend.devices.join(", ")));
        }
        lines.extend(backend.library.iter().map(|library| format!("  library  {}", library.display())));
        lines.extend(
            backend.other_libraries.iter().map(|library| format!("  not used {}", library.display())),
        );
        lines.extend(backend.notices.iter().map(|notice| format!("  note     {notice}")));
    }
    if let Some(CacheReport { folder, error, .. }) = &report.cache {
        let state = error.clone().unwrap_or_else(|| "can be written".to_owned());
        lines.push(format!("cache    {}: {state}", folder.display()));
    }
    lines.extend(report.advice.iter().map(|advice| format!("to do    {advice}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(found: Option<&str>, fits: Option<bool>, found_one: bool) -> String {
        let (built_for, tested_with) = ("1.20".to_owned(), "1.31".to_owned());
        let found = found.map(str::to_owned);
        version_report(Versions { built_for, tested_with, found, fits }, found_one).description
    }

    #[test]
    fn the_version_that_was_found_is_compared_with_the_one_that_the_program_is_built_for() {
        let built = "built for ONNX Runtime 1.20 and newer, tested with 1.31; ";
        let cases = [
            (Some("1.31.1"), Some(true), "found 1.31.1, which fits"),
            (
                Some("1.40.0"),
                Some(true),
                "found 1.40.0, which is newer than the tested version and should fit",
            ),
            (Some("1.9.0"), Some(false), "found 1.9.0, which is too old"),
            (None, Some(true), "found a library that fits, of unknown version"),
            (None, None, "found none"),
        ];
        for (found, fits, expected) in cases {
            assert_eq!(described(found, fits, found.is_some()), format!("{built}{expected}"));
        }
        let unknown = described(None, None, true);
        assert_eq!(unknown, format!("{built}found a library of unknown version that cannot be loaded"));
    }
}
