//! int8: matrices as 8-bit integers, products in integers.
//!
//! A matrix is stored as integers from -127 to 127 with one scale for each output channel: its largest magnitude / 127.
//! The other factor of a product is quantized when the model runs, each token by its own largest magnitude (token-wise
//! quantization: Yao et al. 2022, arXiv 2206.01861). Sums of integers are exact, so that the result for a token does not
//! depend on the other tokens of a batch.
//!
//! Only large matrices of the backbone are stored so. Norms, adapters, generators and position tables stay in float32:
//! they are small, and they make the difference between tasks. All operators are standard ONNX operators.
//!
//! - `matrix`: quantizes a matrix, and computes with it as a file does
//! - `graph`: rewrites the nodes that read quantized matrices

pub(crate) mod graph;
pub(crate) mod matrix;
#[cfg(test)]
mod tests;
