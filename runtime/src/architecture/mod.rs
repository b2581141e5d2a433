//! The kinds of taggers, each an implementation of the traits in [`crate::model`].
//!
//! - [`t5`]: encoder-decoder, writes the target as ids
//! - [`bert`]: token classifier, tags each token

mod bert;
mod t5;

use hyperloader_core::format::tagger::TaggerKind;

use crate::model::Architecture;

/// The implementation of a kind.
pub(crate) fn of(kind: TaggerKind) -> &'static dyn Architecture {
    match kind {
        TaggerKind::EncoderDecoder => &t5::T5,
        TaggerKind::TokenClassifier => &bert::Bert,
    }
}
