//! The feed-forward forms of T5, and the fields of `config.json` that name them.

use serde::{Deserialize, Serialize};

use crate::backbone::error::ConfigError;
use crate::backbone::fields::Fields;

/// The two feed-forward forms of T5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedForward {
    /// `wo(relu(wi x))`, T5 v1.0.
    #[serde(rename = "relu")]
    Relu,
    /// `wo(gelu_new(wi_0 x) * wi_1 x)`, T5 v1.1.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
}

/// `feed_forward_proj`, with the two fields that transformers computes from it.
pub(super) const PROJECTION: &str = "feed_forward_proj";
/// The name of the activation.
pub(super) const ACTIVATION: &str = "dense_act_fn";
/// Whether the activation gates a second projection.
pub(super) const GATED: &str = "is_gated_act";

impl FeedForward {
    /// The name in `feed_forward_proj`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::GatedGelu => "gated-gelu",
        }
    }

    /// The activation, and whether it gates, as transformers computes them from `feed_forward_proj`. In `gated-gelu` it
    /// means `gelu_new`.
    fn activation(self) -> (&'static str, bool) {
        match self {
            Self::Relu => ("relu", false),
            Self::GatedGelu => ("gelu_new", true),
        }
    }

    /// The form that a configuration names; `relu` if it names none. In transformers `dense_act_fn` and `is_gated_act`
    /// override `feed_forward_proj`: configurations in which they contradict it are refused, because they mean a form
    /// that is not implemented, or not the one that the weights were trained with.
    ///
    /// # Errors
    /// If the form is unknown, or the fields contradict each other.
    pub(super) fn of(fields: &Fields) -> Result<Self, ConfigError> {
        let name = fields.text(PROJECTION).unwrap_or("relu");
        let Some(form) = [Self::Relu, Self::GatedGelu].into_iter().find(|form| form.name() == name) else {
            return Err(fields.refused(PROJECTION, format!("`{name}`"), "`relu` or `gated-gelu`"));
        };
        let (activation, gated) = form.activation();
        let means = format!(", which `{PROJECTION}` `{name}` means");
        if let Some(other) = fields.text(ACTIVATION).filter(|other| *other != activation) {
            return Err(fields.refused(ACTIVATION, format!("`{other}`"), &format!("`{activation}`{means}")));
        }
        if let Some(other) = fields.flag(GATED).filter(|other| *other != gated) {
            return Err(fields.refused(GATED, format!("`{other}`"), &format!("`{gated}`{means}")));
        }
        Ok(form)
    }
}
