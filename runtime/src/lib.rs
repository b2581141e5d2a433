//! hl-run and its library: runs an exported tagger with ONNX Runtime or tract
