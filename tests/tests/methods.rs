//! Methods on the command line: their parameters, their options, and what is not theirs.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use hyperloader_tests::{Workplace, fixture, tiny_config};
use serde_json::Value;

fn params(variant: &str, backbone: &str) -> Value {
    let place = Workplace::new();
    let mut command = place.program("hl-train");
    command.args(["params", "--method", variant, "--backbone-preset", backbone, "--tasks", "7"]);
    let output = command.args(["--output-format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// docs/reference/parameter-counts.md#t5-base. The authors' totals include the legacy bias of cross-attention, 384 or
/// 256 parameters, which is subtracted here.
#[test]
fn parameters_are_exactly_those_of_the_published_systems() {
    for (variant, backbone, trainable, total) in [
        ("hyperloader", "t5-base", 6_784_368, 229_640_688 - 384),
        ("hyperformer++", "t5-base", 5_210_992, 228_067_312 - 384),
        ("hyperformer", "t5-base", 10_289_312, 233_145_632 - 384),
        ("adapters", "t5-base", 3_578_112, 226_481_664),
        ("lora", "t5-base", 884_736, 223_788_288),
        ("unipelt", "t5-base", 4_462_848, 227_366_400),
        ("hyperdecoder", "t5-base", 16_448_824, 239_352_376),
        ("full", "t5-base", 222_903_552, 222_903_552),
        ("hyperloader", "t5-small", 3_464_800, 63_955_296 - 256),
        ("hyperformer++", "t5-small", 2_415_712, 62_906_208 - 256),
        ("adapters", "t5-small", 799_488, 61_306_112),
        ("lora", "t5-small", 294_912, 60_801_536),
        ("unipelt", "t5-small", 1_094_400, 61_601_024),
        ("hyperdecoder", "t5-small", 9_914_108, 70_420_732),
        ("full", "t5-small", 60_506_624, 60_506_624),
    ] {
        let counted = params(variant, backbone);
        let found = (counted["trainable"].as_u64().unwrap(), counted["total"].as_u64().unwrap());
        assert_eq!(found, (trainable, total), "{variant} on {backbone}");
        let own = ["adapters", "lora", "unipelt"].contains(&variant);
        let all = if own { 7 * trainable } else { trainable };
        assert_eq!(counted["all_tasks"], all, "{variant} on {backbone}");
    }
}

/// docs/reference/encoders.md#parameter-counts, and for `unipelt-bert` docs/reference/parameter-counts.md#bert-base. The encoders
/// have 108,891,648 and 22,565,376 parameters, without poolers.
#[test]
fn parameters_on_an_encoder_are_those_of_the_formulas() {
    for (variant, backbone, trainable, total) in [
        ("hyperloader", "bert-base", 3_406_872, 112_260_120),
        ("hyperformer++", "bert-base", 2_620_312, 111_473_560),
        ("hyperformer", "bert-base", 5_159_472, 114_012_720),
        ("adapters", "bert-base", 1_789_056, 110_680_704),
        ("lora", "bert-base", 294_912, 109_186_560),
        ("unipelt", "bert-base", 2_083_968, 110_975_616),
        ("full", "bert-base", 108_891_648, 108_891_648),
        ("unipelt-bert", "bert-base", 11_083_376, 119_975_024),
        ("hyperloader", "minilm-l6-h384", 1_112_076, 23_667_468),
        ("hyperformer++", "minilm-l6-h384", 718_732, 23_274_124),
        ("hyperformer", "minilm-l6-h384", 1_385_112, 23_940_504),
        ("adapters", "minilm-l6-h384", 226_080, 22_791_456),
        ("lora", "minilm-l6-h384", 73_728, 22_639_104),
        ("unipelt", "minilm-l6-h384", 299_808, 22_865_184),
        ("full", "minilm-l6-h384", 22_565_376, 22_565_376),
        ("unipelt-bert", "minilm-l6-h384", 2_760_872, 25_326_248),
    ] {
        let counted = params(variant, backbone);
        let found = (counted["trainable"].as_u64().unwrap(), counted["total"].as_u64().unwrap());
        assert_eq!(found, (trainable, total), "{variant} on {backbone}");
    }
}

#[test]
fn a_method_is_not_counted_on_a_backbone_that_it_does_not_run_on() {
    let place = Workplace::new();
    let mut params = place.program("hl-train");
    let transcript = place.transcript(params.args([
        "params",
        "--method",
        "hyperdecoder",
        "--backbone-preset",
        "bert-base",
    ]));
    insta::assert_snapshot!(transcript);
}

#[test]
fn the_papers_figure_stands_beside_what_is_counted() {
    let place = Workplace::new();
    let texts = ["hyperloader", "lora", "hyperdecoder", "full"]
        .map(|method| place.transcript(place.program("hl-train").args(["params", "--method", method])));
    insta::assert_snapshot!(texts.join("\n\n"));
}

/// A place with a configuration, which trains HyperLoader.
fn place() -> Workplace {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    place
}

fn train(place: &Workplace, arguments: &[&str]) -> String {
    let mut train = place.program("hl-train");
    place.transcript(train.args(["--steps", "1", "--quiet", "--threads", "1"]).args(arguments))
}

#[test]
fn an_option_of_another_method_is_refused_in_a_configuration_and_on_the_command_line() {
    for (name, method) in [
        ("config_unknown_to_lora", "method = \"lora\"\ntask_embed_dim = 8"),
        ("config_adapters_of_lora", "method = \"lora\"\nreduction_factor = 8"),
        ("config_lora_of_adapters", "method = \"adapters\"\nlora = { rank = 4 }"),
        ("config_heads_of_unipelt", "method = \"unipelt\"\nlora = { rank = 4, heads = \"by-site\" }"),
        ("config_full", "method = \"full\"\nreduction_factor = 8"),
        ("config_hyperdecoder", "method = \"hyperdecoder\"\ndecoder_botleneck = 8"),
        ("config_hyperformer", "method = \"hyperformer\"\nlora = {}"),
        ("config_type", "method = \"unipelt\"\nactivation = \"tanh\""),
    ] {
        let place = Workplace::new();
        place.write("hyperloader.toml", tiny_config().replacen("reduction_factor = 8", method, 1));
        insta::assert_snapshot!(name, train(&place, &[]));
        assert!(!place.path("runs").exists());
    }
    for (name, arguments) in [
        ("option_of_another_method", &["--method", "lora", "--method-option", "task_embed_dim=8"][..]),
        ("option_without_value", &["--method-option", "reduction_factor"]),
        ("option_of_the_wrong_type", &["--method", "adapters", "--method-option", "activation=8"]),
        ("option_that_does_not_fit", &["--method", "adapters", "--method-option", "reduction_factor=7"]),
        ("unknown_method", &["--method", "lroa"]),
    ] {
        let place = place();
        insta::assert_snapshot!(name, train(&place, arguments));
        assert!(!place.path("runs").exists());
    }
}

#[test]
fn a_run_of_one_method_is_neither_resumed_nor_started_from_nor_exported_as_another() {
    let place = place();
    let made = train(&place, &["--method", "lora", "--name", "lora", "--method-option", "lora.rank=4"]);
    assert!(made.starts_with("exit: 0"), "{made}");
    let warm = |method: &[&str]| train(&place, &[&["--warm-start", "runs/lora"], method].concat());
    insta::assert_snapshot!("warm_start_of_another_method", warm(&["--method", "unipelt"]));
    insta::assert_snapshot!("warm_start_of_other_hyper_parameters", warm(&["--method", "lora"]));
    let mut resume = place.program("hl-train");
    resume.args(["--quiet", "--resume", "runs/lora", "--method", "adapters"]);
    insta::assert_snapshot!("resume_with_a_method", place.transcript(&mut resume));

    let config = place.path("runs/lora/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let other = "method = \"adapters\"\nreduction_factor = 8\n";
    let start = text.find("[method]").unwrap();
    let end = text.find("[training]").unwrap();
    std::fs::write(&config, format!("{}[method]\n{other}\n{}", &text[..start], &text[end..])).unwrap();
    let mut resume = place.program("hl-train");
    insta::assert_snapshot!(
        "resume_of_a_changed_method",
        place.transcript(resume.args(["--quiet", "--resume", "runs/lora"]))
    );

    let manifest = place.path("runs/lora/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let [start, end] = ["\"method\": {", "\"t5\": {"].map(|key| text.find(key).unwrap());
    let other = "\"method\": { \"method\": \"adapters\" },\n  ";
    std::fs::write(&manifest, format!("{}{other}{}", &text[..start], &text[end..])).unwrap();
    let mut export = place.program("hl-export");
    export.args(["--task", "atis", "--run", "runs/lora"]);
    insta::assert_snapshot!("export_of_a_changed_method", place.transcript(&mut export));
    assert!(!place.path("atis.onnx").exists());
}

#[test]
fn the_committed_runs_manifest_and_the_bare_configuration_are_of_hyperloader() {
    let manifest = std::fs::read_to_string(fixture("runs/nano/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let method: hyperloader_core::method::MethodConfig =
        serde_json::from_value(manifest["method"].clone()).unwrap();
    assert_eq!(serde_json::to_value(&method).unwrap(), manifest["method"]);
}
