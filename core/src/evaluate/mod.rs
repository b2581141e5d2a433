//! Evaluation of tagged sentences beyond the scores of [`crate::text::metrics`].
//!
//! - [`Details`] (`details`): scores by label, confusions and the worst sentences
//! - [`bootstrap`]: whether a difference of F1 may be chance
//! - `html` (feature `html`): parts of HTML pages that show details

pub mod bootstrap;
mod details;
#[cfg(feature = "html")]
pub mod html;

pub use self::details::{Confusion, Details, Mistake, Sentence};
