//! Which backend runs a graph, on which device and how.

use std::path::PathBuf;

use hyperloader_core::device::Device;

use crate::names::names;

/// The runtime that runs the graphs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// ONNX Runtime if its library can be loaded, else tract
    #[default]
    Auto,
    /// ONNX Runtime, a library loaded when the program runs
    Ort,
    /// tract, compiled in
    Tract,
}

names!(BackendKind, "backend",
    Auto => "auto" "ONNX Runtime if its library can be loaded, else tract",
    Ort => "ort" "ONNX Runtime, a library that is loaded when the program runs",
    Tract => "tract" "tract, which is part of the program",
);

/// How graphs are run.
#[derive(Debug, Clone, Default)]
pub struct BackendOptions {
    /// Library that runs the graphs.
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
