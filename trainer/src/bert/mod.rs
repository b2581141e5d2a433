//! BERT (Devlin et al. 2019) with the modules of UniPELT (reference section 5.4): ids to logits of BIO tags.

mod encoder;
mod modules;
mod tagger;

pub use encoder::{Bert, Observed};
pub use tagger::{BertTagger, Start, tag_loss};
