//! The feed-forward forms of T5, and the fields of `config.json` that name them.

use serde::{Deserialize, Serialize};

use crate::backbone::error::ConfigError;
use crate::backbone::fields::Fields;
use crate::weights::task::Activation;

/// The feed-forward forms of T5: `wo(f(wi x))` or, gated, `wo(f(wi_0 x) * wi_1 x)`. Their names are those of
/// `feed_forward_proj` in transformers. Only in `gated-gelu` the name `gelu` means `gelu_new`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the table says what each form computes")]
pub enum FeedForward {
    /// T5 v1.0.
    #[serde(rename = "relu")]
    Relu,
    #[serde(rename = "gelu")]
    Gelu,
    #[serde(rename = "gelu_new")]
    GeluNew,
    #[serde(rename = "silu")]
    Silu,
    #[serde(rename = "gated-relu")]
    GatedRelu,
    /// T5 v1.1.
    #[serde(rename = "gated-gelu")]
    GatedGelu,
    #[serde(rename = "gated-silu")]
    GatedSilu,
}

/// `feed_forward_proj`, with the two fields that transformers computes from it.
pub(super) const PROJECTION: &str = "feed_forward_proj";
/// The name of the activation.
pub(super) const ACTIVATION: &str = "dense_act_fn";
/// Whether the activation gates a second projection.
pub(super) const GATED: &str = "is_gated_act";

impl FeedForward {
    /// All forms.
    pub const ALL: [Self; 7] = [
        Self::Relu,
        Self::Gelu,
        Self::GeluNew,
        Self::Silu,
        Self::GatedRelu,
        Self::GatedGelu,
        Self::GatedSilu,
    ];

    /// The name of the form, and that of its activation, in transformers.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Relu => ("relu", "relu"),
            Self::Gelu => ("gelu", "gelu"),
            Self::GeluNew => ("gelu_new", "gelu_new"),
            Self::Silu => ("silu", "silu"),
            Self::GatedRelu => ("gated-relu", "relu"),
            Self::GatedGelu => ("gated-gelu", "gelu_new"),
            Self::GatedSilu => ("gated-silu", "silu"),
        }
    }

    /// The name in `feed_forward_proj`.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// The name of the activation in `dense_act_fn`.
    pub fn activation_name(self) -> &'static str {
        self.names().1
    }

    /// The activation f.
    pub fn activation(self) -> Activation {
        match self {
            Self::Relu | Self::GatedRelu => Activation::Relu,
            Self::Gelu => Activation::Gelu,
            Self::GeluNew | Self::GatedGelu => Activation::GeluNew,
            Self::Silu | Self::GatedSilu => Activation::Swish,
        }
    }

    /// Whether the activation gates a second projection.
    pub fn is_gated(self) -> bool {
        matches!(self, Self::GatedRelu | Self::GatedGelu | Self::GatedSilu)
    }

    /// The form that a configuration names; `relu` if it names none. In transformers `dense_act_fn` and `is_gated_act`
    /// override `feed_forward_proj`: configurations in which they contradict it are refused, because they mean a form
    /// that is not implemented, or not the one that the weights were trained with.
    ///
    /// # Errors
    /// If the form is unknown, or the fields contradict each other.
    pub(super) fn of(fields: &Fields) -> Result<Self, ConfigError> {
        let name = fields.text(PROJECTION).unwrap_or("relu");
        let Some(form) = Self::ALL.into_iter().find(|form| form.name() == name) else {
            let known = Self::ALL.map(|form| format!("`{}`", form.name())).join(", ");
            return Err(fields.refused(PROJECTION, format!("`{name}`"), &format!("one of {known}")));
        };
        let (activation, gated) = (form.activation_name(), form.is_gated());
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
