//! `hl-run doctor`: what is installed on this machine, and what is missing.

use std::env;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hyperloader_cli::{Console, Exit, OutputFormat};
use hyperloader_core::causes::with_causes;
use hyperloader_core::files::check_output_folder;
use hyperloader_runtime::{Backend, BackendKind, BackendOptions, Installed};
use serde::Serialize;

/// Report what is installed on this machine, and what is missing
///
/// Lists the backends with their versions, libraries and devices, the threads, and whether a cache folder can be written.
/// Nothing is tagged and nothing is changed. The exit code is 1 if no backend can run a model.
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
    notices: Vec<String>,
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
    let Installed { kind, description, notices, libraries, loaded, devices } = installed;
    let usable = description.is_ok();
    let description = description.unwrap_or_else(|error| {
        let message = with_causes(&error);
        let (reason, hints): (Vec<&str>, Vec<&str>) =
            message.lines().partition(|line| !line.starts_with("hint: "));
        advice.extend(hints.iter().map(|hint| hint.trim_start_matches("hint: ").to_owned()));
        reason.join(" ")
    });
    let other_libraries = libraries.into_iter().filter(|library| Some(library) != loaded.as_ref()).collect();
    let name = match kind {
        BackendKind::Ort => "ort",
        BackendKind::Tract => "tract",
        BackendKind::Auto => "auto",
    };
    BackendReport { name, usable, description, devices, library: loaded, other_libraries, notices }
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
        if !backend.devices.is_empty() {
            lines.push(format!("  devices  {}", backend.devices.join(", ")));
        }
        lines.extend(backend.library.iter().map(|library| format!("  library  {}", library.display())));
        lines.extend(
            backend.other_libraries.iter().map(|library| format!("  also     {}", library.display())),
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
