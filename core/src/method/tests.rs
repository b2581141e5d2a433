use super::*;
use crate::backbone::bert::BertConfig;
use crate::backbone::registry::Architecture;
use crate::backbone::t5::T5Config;
use crate::backbone::{BackboneConfig, BackboneKind};

/// The configuration of this preset, or that of a BERT for a method that runs on no T5.
fn backbone(method: Method, preset: &str) -> Architecture {
    let preset = if method.runs_on(BackboneKind::T5) { preset } else { "minilm-l12-h384" };
    Architecture::preset(method.backbones(), Some(preset)).unwrap()
}

fn tasks(names: &[&str]) -> Vec<TaskShape> {
    names.iter().map(|name| TaskShape { name: (*name).to_owned(), bio_tags: 5 }).collect()
}

fn config(variant: &str) -> MethodConfig {
    super::variant(variant).unwrap()
}

fn trainable(variant: &str, preset: &str, tasks: usize) -> usize {
    let names: Vec<String> = (0..tasks).map(|i| format!("task{i}")).collect();
    let config = config(variant);
    let (backbone, tasks) = (backbone(config.method(), preset), TaskShape::named(&names));
    config.validate(backbone.config(), &tasks).unwrap();
    let tensors = config.trainable_tensors(backbone.config(), &tasks);
    tensors.iter().map(|t| t.shape.iter().product::<usize>()).sum()
}

#[test]
fn every_method_has_a_variant_of_its_name_as_published() {
    for method in Method::ALL {
        assert_eq!(config(method.name()).method(), method);
        let text = serde_json::to_string(&method).unwrap();
        assert_eq!(text, format!("\"{method}\""));
    }
}

#[test]
fn trainable_counts_are_those_of_the_authors_logs() {
    assert_eq!(trainable("hyperloader", "t5-base", 7), 6_784_368);
    assert_eq!(trainable("hyperloader", "t5-small", 7), 3_464_800);
    assert_eq!(trainable("hyperformer++", "t5-base", 7), 5_210_992);
    assert_eq!(trainable("hyperformer++", "t5-base", 6), 5_210_928);
    assert_eq!(trainable("hyperformer++", "t5-base", 3), 5_210_736);
    assert_eq!(trainable("hyperformer++", "t5-small", 7), 2_415_712);
}

#[test]
fn trainable_counts_of_the_ablations_are_those_of_the_formulas() {
    for (variant, base, small) in [
        ("hyperloader-4-lora", 8_357_232, 4_513_376),
        ("hyperloader-8-lora", 11_502_960, 6_610_528),
        ("hyperloader-r16", 8_357_232, 4_513_376),
        ("hyperloader-no-adapters", 1_689_408, 1_133_120),
        ("hyperloader-no-adapters-norm-heads", 1_889_088, 1_266_240),
    ] {
        let counts = ["t5-base", "t5-small"].map(|preset| trainable(variant, preset, 7));
        assert_eq!(counts, [base, small], "{variant}");
    }
    assert_eq!(trainable("hyperloader-4-lora-self", "t5-base", 7), 8_356_976);
    assert_eq!(trainable("hyperloader-paper-embedding", "t5-base", 7), 6_902_192);
}

#[test]
fn trainable_counts_of_the_other_methods_are_those_of_the_formulas() {
    // For a task's own model, where each has its own.
    for (variant, base, small) in [
        ("adapters", 3_578_112, 799_488),
        ("lora", 884_736, 294_912),
        ("unipelt", 4_462_848, 1_094_400),
        ("full", 222_903_552, 60_506_624),
    ] {
        let counts = ["t5-base", "t5-small"].map(|preset| trainable(variant, preset, 1));
        assert_eq!(counts, [base, small], "{variant}");
    }
    assert_eq!(trainable("hyperdecoder", "t5-base", 7), 16_448_824);
    assert_eq!(trainable("hyperdecoder-live", "t5-base", 7), 15_259_192);
    assert_eq!(trainable("hyperdecoder", "t5-small", 7), 9_914_108);
    assert_eq!(trainable("hyperformer", "t5-base", 7), 10_289_312);
}

/// The formulas of docs/reference/encoders.md#parameter-counts, without classifiers.
#[test]
fn trainable_counts_on_an_encoder_are_those_of_the_formulas() {
    for (variant, tasks, base, minilm) in [
        ("hyperloader", 7, 3_406_872, 1_112_076),
        ("hyperformer++", 7, 2_620_312, 718_732),
        ("hyperformer", 7, 5_159_472, 1_385_112),
        // Self-attention is the only one, so heads by attention are the shared ones.
        ("hyperloader-4-lora", 7, 3_406_872, 1_112_076),
        ("hyperloader-4-lora-self", 7, 4_193_304, 1_505_292),
        ("hyperloader-8-lora", 7, 4_193_304, 1_505_292),
        ("adapters", 1, 1_789_056, 226_080),
        ("lora", 1, 294_912, 73_728),
        ("unipelt", 1, 2_083_968, 299_808),
        ("full", 7, 108_891_648, 22_565_376),
    ] {
        let counts = ["bert-base", "minilm-l6-h384"].map(|preset| trainable(variant, preset, tasks));
        assert_eq!(counts, [base, minilm], "{variant}");
    }
}

#[test]
fn each_task_has_a_classifier_on_an_encoder_and_none_on_a_t5() {
    let [bert, t5] = ["minilm-l6-h384", "t5-nano"]
        .map(|preset| Architecture::preset(&BackboneKind::ALL, Some(preset)).unwrap());
    for method in Method::ALL {
        let classifiers = |backbone: &Architecture| -> Vec<(String, Vec<usize>)> {
            let list = config(method.name()).trainable_tensors(backbone.config(), &tasks(&["a", "b"]));
            let list = list.into_iter().filter(|tensor| tensor.name.contains(names::CLASSIFIER));
            list.map(|tensor| (tensor.name, tensor.shape)).collect()
        };
        if method.runs_on(BackboneKind::Bert) {
            let shapes = [("weight", vec![5, 384]), ("bias", vec![5])];
            let of_task =
                |task| shapes.clone().map(|(end, shape)| (format!("task.{task}.classifier.{end}"), shape));
            assert_eq!(classifiers(&bert), [of_task("a"), of_task("b")].concat(), "{method}");
        }
        if method.runs_on(BackboneKind::T5) {
            assert_eq!(classifiers(&t5), [], "{method}");
        }
    }
}

#[test]
fn tasks_share_what_their_method_shares() {
    for method in Method::ALL {
        let count = |tasks| trainable(method.name(), "t5-small", tasks);
        let (one, three) = (count(1), count(3));
        let config = config(method.name());
        let expected = match config.sharing() {
            Sharing::Everything => one,
            Sharing::Nothing => 3 * one,
            Sharing::Embedding => one + 2 * 64,
        };
        assert_eq!(three, expected, "{method}");
        let prefixed = config.sharing() == Sharing::Everything;
        assert_eq!(config.source_prefix("mtop"), if prefixed { "mtop" } else { "" });
    }
}

#[test]
fn names_of_tensors_differ() {
    let tasks = tasks(&["a", "b"]);
    for variant in variants() {
        for kind in variant.config.method().backbones() {
            let backbone = Architecture::preset(&[*kind], None).unwrap();
            let tensors = variant.config.trainable_tensors(backbone.config(), &tasks);
            let names: std::collections::BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names.len(), tensors.len(), "{} on a {kind}", variant.name);
        }
    }
}

#[test]
fn what_is_written_is_read_again_and_what_is_left_open_is_as_published() {
    for variant in variants() {
        let text = serde_json::to_string(&variant.config).unwrap();
        assert_eq!(serde_json::from_str::<MethodConfig>(&text).unwrap(), variant.config, "{text}");
    }
    let read = |text: &str| serde_json::from_str::<MethodConfig>(text).map_err(|e| e.to_string());
    for method in Method::ALL {
        assert_eq!(read(&format!("{{\"method\": \"{method}\"}}")), Ok(config(method.name())));
    }
    assert_eq!(read("{}"), Ok(MethodConfig::default()));
    let other = read(r#"{"method": "lora", "task_embed_dim": 8}"#).unwrap_err();
    assert!(other.contains("unknown field `task_embed_dim`"), "{other}");
    assert!(read(r#"{"method": "full", "reduction_factor": 8}"#).is_err());
    assert!(read(r#"{"method": "lroa"}"#).unwrap_err().contains("`lroa`"));
}

#[test]
fn impossible_hyper_parameters_are_named() {
    let t5 = T5Config::preset("t5-nano").unwrap();
    let one = tasks(&["a"]);
    let fails =
        |config: MethodConfig, tasks: &[TaskShape]| config.validate(&t5, tasks).unwrap_err().to_string();
    let odd = HyperConfig { reduction_factor: 5, ..HyperConfig::default() };
    assert!(fails(odd.into(), &one).contains("`reduction_factor` is 5"));
    let flat = LoraConfig { rank: 0, ..LoraConfig::default() };
    let flat = HyperConfig { lora: Some(flat), ..HyperConfig::default() };
    assert!(fails(flat.into(), &one).contains("`lora.rank` is 0"));
    let preset = MethodConfig::default();
    assert!(fails(preset.clone(), &[]).contains("missing"));
    assert!(fails(preset.clone(), &tasks(&["a", "a"])).contains("used twice"));
    assert!(fails(preset, &tasks(&["a.b"])).contains("`a.b`"));

    let read = |text: &str| serde_json::from_str::<MethodConfig>(text).unwrap();
    for (text, message) in [
        (
            r#"{"method": "lora", "reduction_factor": 8}"#,
            "`reduction_factor` is present, expected none: `lora` has no adapters",
        ),
        (
            r#"{"method": "lora", "activation": "relu"}"#,
            "`activation` is present, expected none: `lora` has no adapters",
        ),
        (r#"{"method": "adapters", "lora": {}}"#, "`lora` is present, expected none: `adapters` has no LoRA"),
        (
            r#"{"method": "unipelt", "lora": {"rank": 0}}"#,
            "`lora.rank` is 0, expected a number from 1 to `d_model`",
        ),
        (
            r#"{"method": "adapters", "reduction_factor": 3}"#,
            "`reduction_factor` is 3, expected a divisor of the backbone's `d_model` 128",
        ),
        (
            r#"{"method": "hyperformer", "lora": {}}"#,
            "`lora` is present, expected none: `hyperformer` generates no LoRA",
        ),
        (
            r#"{"method": "hyperdecoder", "layer_embed_dim": 0}"#,
            "`layer_embed_dim` is 0, expected a number from 1 to 65536",
        ),
    ] {
        assert_eq!(fails(read(text), &one), message);
    }
}

#[test]
fn a_method_on_another_kind_of_backbone_is_refused() {
    let refused = |name: &str, backbone: &dyn BackboneConfig| {
        config(name).validate(backbone, &tasks(&["a"])).unwrap_err().to_string()
    };
    let (t5, bert) = (T5Config::preset("t5-nano").unwrap(), BertConfig::preset("bert-base").unwrap());
    let hyperdecoder = refused("hyperdecoder", &bert);
    assert!(
        hyperdecoder.starts_with("method `hyperdecoder` runs on a T5, not on a BERT\nhint: "),
        "{hyperdecoder}"
    );
    let unipelt = refused("unipelt-bert", &t5);
    assert!(unipelt.starts_with("method `unipelt-bert` runs on a BERT, not on a T5\nhint: "), "{unipelt}");
}
