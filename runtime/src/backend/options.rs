//! Which backend runs a graph, on which device and how.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The runtime that runs the graphs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum BackendKind {
    /// ONNX Runtime if its library can be loaded, else tract
    #[default]
    Auto,
    /// ONNX Runtime, a library loaded when the program runs
    Ort,
    /// tract, compiled in
    Tract,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::Tract => "tract",
        })
    }
}

/// The device that graphs run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The first GPU if the backend can use it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this index; an error if it cannot be used.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || "expected `auto`, `cpu`, `cuda` or `cuda:N`".to_owned();
        match text.split_once(':') {
            None if text == "auto" => Ok(Self::Auto),
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

/// How graphs are run.
#[derive(Debug, Clone, Default)]
pub struct BackendOptions {
    /// The runtime.
    pub kind: BackendKind,
    /// The device that it runs on.
    pub device: Device,
    /// Threads of one operation; all cores if absent.
    pub threads: Option<usize>,
    /// ONNX Runtime's library; if absent, [`Backend::load`](super::Backend::load) searches for it.
    pub ort_lib: Option<PathBuf>,
    /// The folder of ONNX Runtime's cache, for the CPU only. Optimized graphs and their weights are written to
    /// `NAME.onnx.cache` in it: a model that is opened again starts faster, and all sessions and processes share its
    /// weights. The cache takes twice the model's size.
    pub cache: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:0:1"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
