//! hl-export: materialises, folds and writes one task as one ONNX file
