//! Adapters in the reference models.

use hyperloader_core::weights::task::{Adapter, Placement};
use hyperloader_core::weights::tensors::HostTensor;
use ndarray::{Array2, Ix1, Ix2};

use crate::arithmetic::{activate, layer_norm};
use crate::error::ModelError;
use crate::tensor::wide;

/// Adds a sub-layer's output `y` and the update of its adapter to its input `x`
/// (`docs/reference/hyperloader.md#t5-block-with-task-weights`, `docs/reference/baselines.md#adapters`).
pub(crate) fn join(
    x: &mut Array2<f64>,
    y: Array2<f64>,
    adapter: Option<&Adapter<HostTensor>>,
) -> Result<(), ModelError> {
    if let Some(adapter) = adapter {
        let update = match adapter.placement {
            Placement::BeforeDropout | Placement::AfterDropout => bottleneck(&y, adapter)?,
            Placement::Parallel => bottleneck(x, adapter)?,
        };
        *x += &update;
    }
    *x += &y;
    Ok(())
}

/// `norm(up(activation(down(x))))`.
fn bottleneck(x: &Array2<f64>, adapter: &Adapter<HostTensor>) -> Result<Array2<f64>, ModelError> {
    let name = "adapter";
    let affine = |x: &Array2<f64>, weight, bias| -> Result<Array2<f64>, ModelError> {
        Ok(x.dot(&wide::<Ix2>(name, weight)?.t()) + wide::<Ix1>(name, bias)?)
    };
    let hidden = affine(x, &adapter.down_weight, &adapter.down_bias)?;
    let hidden = hidden.mapv_into(|x| activate(adapter.activation, x));
    let mut update = affine(&hidden, &adapter.up_weight, &adapter.up_bias)?;
    if let Some(norm) = &adapter.norm {
        let gamma = wide::<Ix1>(name, &norm.gamma)?;
        let beta = wide::<Ix1>(name, &norm.beta)?;
        layer_norm(&mut update, &gamma.view(), &beta.view(), norm.eps);
    }
    Ok(update)
}
