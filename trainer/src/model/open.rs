//! The constructor of all models. It is the only place that tells the kinds of backbones apart.

use std::path::Path;

use hyperloader_core::backbone::Family;

use super::base::{Base, OpenError};
use super::bert::base::BertBase;
use super::t5::base::T5Base;
use crate::config::Config;

/// Opens the backbone in `folder` for the method and the tasks of `config`, and checks that they fit each other.
///
/// # Errors
/// If the folder is unusable or holds another kind of backbone, or a value of the configuration does not fit it.
pub fn open(config: &Config, folder: &Path) -> Result<Box<dyn Base>, OpenError> {
    let method = config.method.method();
    Family::check(folder, method)?;
    Ok(match method.family() {
        Family::T5 => Box::new(T5Base::open(config, folder)?),
        Family::Bert => Box::new(BertBase::open(config, folder)?),
    })
}
