//! The values of options, as typed on the command line.

use hyperloader_runtime::{BackendKind, Mode, Split};

pub(crate) const BACKENDS: [(BackendKind, &str, &str); 3] = [
    (BackendKind::Auto, "auto", "ONNX Runtime if its library can be loaded, else tract"),
    (BackendKind::Ort, "ort", "ONNX Runtime, a library that is loaded when hl-serve starts"),
    (BackendKind::Tract, "tract", "tract, which is part of hl-serve"),
];

pub(crate) const MODES: [(Mode, &str, &str); 4] = [
    (Mode::Verified, "verified", "The tags of `greedy` in fewer passes"),
    (Mode::Greedy, "greedy", "One token per pass, the most likely of the whole vocabulary"),
    (Mode::Constrained, "constrained", "One token per pass, such that each word gets a known tag"),
    (Mode::Draft, "draft", "Only the encoder runs: no scores, and tags may differ from `greedy`"),
];

pub(crate) const SPLITS: [(Split, &str, &str); 3] = [
    (Split::Never, "never", "None: those that are longer than the tagger takes are errors"),
    (Split::Long, "long", "Those that are longer than the tagger takes"),
    (Split::Sentences, "sentences", "All: each sentence of a text is tagged by itself"),
];
