//! Dropout alone in its process: libtorch's generator is global, and another test must not draw from it in between.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use hyperloader_core::backbone::t5::T5Backbone;
use hyperloader_core::method::HyperConfig;
use hyperloader_trainer::data::Batch;
use hyperloader_trainer::model::Start;
use hyperloader_trainer::model::t5::T5Tagger;
use tch::{Device, Tensor};

#[test]
fn dropout_is_drawn_in_training_only_and_follows_the_seed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/t5/relu/model");
    let backbone = T5Backbone::open(&folder, false).unwrap();
    assert!(backbone.config.dropout_rate > 0.0);
    let method = HyperConfig { reduction_factor: 4, ..HyperConfig::default() }.into();
    let tagger =
        T5Tagger::new(&backbone, &method, &["mtop".to_owned()], Start::Seed(1), Device::Cpu).unwrap();
    let input_ids = Tensor::from_slice2(&[[9, 8, 7, 6, 1], [5, 40, 41, 42, 1]]);
    let batch =
        Batch { attention_mask: input_ids.ones_like(), target_ids: input_ids.shallow_clone(), input_ids };
    let loss = |training| tagger.loss(&batch, "mtop", 0.1, training).unwrap().sum;
    assert_eq!(loss(false), loss(false));
    tch::manual_seed(3);
    let first = loss(true);
    assert_ne!(first, loss(true));
    tch::manual_seed(3);
    assert_eq!(loss(true), first);
}
