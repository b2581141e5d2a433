//! The operators of [`GraphBuilder`]: each method adds a node and returns the node's output.

use crate::builder::{GraphBuilder, Opset, Value};
use crate::element::ElementType;
use crate::proto::AttributeProto;

impl<S> GraphBuilder<S> {
    /// `Gather`: the slices of `data` along `axis` at `indices`.
    pub fn gather(&mut self, data: Value, indices: Value, axis: i64) -> Value {
        self.op("Gather", &[data, indices], vec![AttributeProto::int("axis", axis)])
    }

    /// `MatMul`: the product of the last two dimensions, broadcast over the others.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        self.op("MatMul", &[a, b], vec![])
    }

    /// `Gemm` with `b` transposed: `[rows, columns]` of `a` `[rows, width]` and `b` `[columns, width]`.
    pub fn matmul_transposed(&mut self, a: Value, b: Value) -> Value {
        self.op("Gemm", &[a, b], vec![AttributeProto::int("transB", 1)])
    }

    /// `Add`, broadcast.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.op("Add", &[a, b], vec![])
    }

    /// `Sub`, broadcast.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.op("Sub", &[a, b], vec![])
    }

    /// `Mul`, broadcast.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.op("Mul", &[a, b], vec![])
    }

    /// `Div`, broadcast.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.op("Div", &[a, b], vec![])
    }

    /// `Pow`, broadcast.
    pub fn pow(&mut self, base: Value, exponent: Value) -> Value {
        self.op("Pow", &[base, exponent], vec![])
    }

    /// `Min` of two, broadcast.
    pub fn min(&mut self, a: Value, b: Value) -> Value {
        self.op("Min", &[a, b], vec![])
    }

    /// `Max` of two, broadcast.
    pub fn max(&mut self, a: Value, b: Value) -> Value {
        self.op("Max", &[a, b], vec![])
    }

    /// `LessOrEqual`, broadcast. The result is boolean.
    pub fn less_or_equal(&mut self, a: Value, b: Value) -> Value {
        self.op("LessOrEqual", &[a, b], vec![])
    }

    /// `Where`: `a` where `condition` holds, else `b`, broadcast.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.op("Where", &[condition, a, b], vec![])
    }

    /// `Sqrt`.
    pub fn sqrt(&mut self, x: Value) -> Value {
        self.op("Sqrt", &[x], vec![])
    }

    /// `Exp`.
    pub fn exp(&mut self, x: Value) -> Value {
        self.op("Exp", &[x], vec![])
    }

    /// `Relu`.
    pub fn relu(&mut self, x: Value) -> Value {
        self.op("Relu", &[x], vec![])
    }

    /// `Tanh`.
    pub fn tanh(&mut self, x: Value) -> Value {
        self.op("Tanh", &[x], vec![])
    }

    /// `Erf`: the error function.
    pub fn erf(&mut self, x: Value) -> Value {
        self.op("Erf", &[x], vec![])
    }

    /// `Sigmoid`.
    pub fn sigmoid(&mut self, x: Value) -> Value {
        self.op("Sigmoid", &[x], vec![])
    }

    /// `Softmax` along `axis`.
    pub fn softmax(&mut self, x: Value, axis: i64) -> Value {
        self.op("Softmax", &[x], vec![AttributeProto::int("axis", axis)])
    }

    /// `LayerNormalization` over the last axis with scale `gamma` and offset `beta` (`[width]`): mean subtracted,
    /// biased variance.
    pub fn layer_normalization(&mut self, x: Value, gamma: Value, beta: Value, epsilon: f32) -> Value {
        let attributes = vec![AttributeProto::int("axis", -1), AttributeProto::float("epsilon", epsilon)];
        self.op("LayerNormalization", &[x, gamma, beta], attributes)
    }

    /// `ReduceMean` over `axes`, which are kept as dimensions of size 1.
    pub fn reduce_mean(&mut self, x: Value, axes: &[i64]) -> Value {
        let keep = AttributeProto::int("keepdims", 1);
        match self.opset {
            Opset::V17 => self.op("ReduceMean", &[x], vec![AttributeProto::ints("axes", axes), keep]),
            Opset::V18 => {
                let axes = self.i64s(axes);
                self.op("ReduceMean", &[x, axes], vec![keep])
            }
        }
    }

    /// `ArgMax` along `axis`, which is removed. Of equal maxima the first counts. The result is i64.
    pub fn argmax(&mut self, x: Value, axis: i64) -> Value {
        self.op("ArgMax", &[x], vec![AttributeProto::int("axis", axis), AttributeProto::int("keepdims", 0)])
    }

    /// `Reshape`. In `dims`, 0 keeps the input's dimension at that place, and one -1 is computed from the others.
    pub fn reshape(&mut self, x: Value, dims: &[i64]) -> Value {
        let dims = self.i64s(dims);
        self.reshape_to(x, dims)
    }

    /// `Reshape` to the sizes in `dims` `[rank]`.
    pub fn reshape_to(&mut self, x: Value, dims: Value) -> Value {
        self.op("Reshape", &[x, dims], vec![])
    }

    /// `Transpose`: dimension `i` of the output is dimension `permutation[i]` of the input.
    pub fn transpose(&mut self, x: Value, permutation: &[i64]) -> Value {
        self.op("Transpose", &[x], vec![AttributeProto::ints("perm", permutation)])
    }

    /// `Unsqueeze`: adds dimensions of size 1 at `axes` of the output.
    pub fn unsqueeze(&mut self, x: Value, axes: &[i64]) -> Value {
        let axes = self.i64s(axes);
        self.op("Unsqueeze", &[x, axes], vec![])
    }

    /// `Squeeze`: removes the dimensions `axes`, each of size 1.
    pub fn squeeze(&mut self, x: Value, axes: &[i64]) -> Value {
        let axes = self.i64s(axes);
        self.op("Squeeze", &[x, axes], vec![])
    }

    /// `Slice` along `axis` from `start` to `end`, exclusive. Negative numbers count from the end.
    pub fn slice(&mut self, x: Value, axis: i64, start: i64, end: i64) -> Value {
        let (start, end, axis) = (self.i64s(&[start]), self.i64s(&[end]), self.i64s(&[axis]));
        self.op("Slice", &[x, start, end, axis], vec![])
    }

    /// `Shape`: the sizes of the dimensions from `start` to `end`, exclusive, as i64 `[end - start]`.
    pub fn shape(&mut self, x: Value, start: i64, end: i64) -> Value {
        self.op("Shape", &[x], vec![AttributeProto::int("start", start), AttributeProto::int("end", end)])
    }

    /// `Concat` of `parts` along `axis`.
    pub fn concat(&mut self, parts: &[Value], axis: i64) -> Value {
        self.op("Concat", parts, vec![AttributeProto::int("axis", axis)])
    }

    /// `Range` of scalars: `start`, `start + step`, ... below `limit`.
    pub fn range(&mut self, start: Value, limit: Value, step: Value) -> Value {
        self.op("Range", &[start, limit, step], vec![])
    }

    /// `Cast` to `element_type`.
    pub fn cast(&mut self, x: Value, element_type: ElementType) -> Value {
        self.op("Cast", &[x], vec![AttributeProto::int("to", element_type.code().into())])
    }

    /// `Identity`.
    pub fn identity(&mut self, x: Value) -> Value {
        self.op("Identity", &[x], vec![])
    }
}
