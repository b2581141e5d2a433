//! The ONNX messages that HyperLoader uses, a typed graph builder and sub-graph extraction
