//! Folders of BERTs as other programs write them: each trains, or is refused with its file, its field and its value.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::fs;
use std::path::Path;

use hyperloader_core::backbone::bert::{BertBackbone, BertConfig};
use hyperloader_core::text::wordpiece::WordPiece;
use hyperloader_core::weights::tensors::{TensorFile, Tensors, write_tensors};
use hyperloader_tests::{Workplace, fixture};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// The name of a case, and what it changes in the folder.
type Case = (&'static str, fn(&Path));

const WEIGHTS: &str = "model.safetensors";

/// Two layers of width 16, and the 512 positions of published BERTs.
fn tiny() -> BertConfig {
    BertConfig {
        vocab_size: vocabulary().lines().count(),
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        ..BertConfig::preset("bert-base").unwrap()
    }
}

/// Letters of both cases at the start and inside of words, digits and a dot.
fn vocabulary() -> String {
    let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let pieces = letters.flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "."].map(str::to_owned);
    special.into_iter().chain(pieces).map(|token| token + "\n").collect()
}

/// Writes a BERT with random tensors: `config.json`, `model.safetensors` and `vocab.txt`.
fn write_bert(folder: &Path) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut tensor =
        |shape: Vec<usize>| ArrayD::from_shape_simple_fn(shape, || random.random_range(-0.5_f32..0.5));
    let tensors: Tensors = tiny().tensors().into_iter().map(|(name, shape)| (name, tensor(shape))).collect();
    fs::create_dir_all(folder).unwrap();
    write_tensors(&folder.join(WEIGHTS), &tensors).unwrap();
    let mut config = serde_json::to_value(tiny()).unwrap();
    config["model_type"] = "bert".into();
    config["architectures"] = json!(["BertModel"]);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("vocab.txt"), vocabulary()).unwrap();
}

/// Changes a field of `config.json`.
fn set(folder: &Path, field: &str, value: impl Into<Value>) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[field] = value.into();
    fs::write(path, config.to_string()).unwrap();
}

/// Changes the tensors.
fn change(folder: &Path, change: impl FnOnce(Tensors) -> Tensors) {
    let path = folder.join(WEIGHTS);
    let tensors = change(TensorFile::open(&path).unwrap().read_all().unwrap());
    write_tensors(&path, &tensors).unwrap();
}

fn rename(folder: &Path, spell: impl Fn(&str) -> String) {
    change(folder, |tensors| tensors.into_iter().map(|(name, tensor)| (spell(&name), tensor)).collect());
}

fn bare(name: &str) -> String {
    name.trim_start_matches("bert.").to_owned()
}

/// Adds tensors that a tagger does not use.
fn add(folder: &Path, names: &[&str]) {
    change(folder, |mut tensors| {
        tensors.extend(names.iter().map(|name| ((*name).to_owned(), ArrayD::zeros(vec![16]))));
        tensors
    });
}

/// Writes the `tokenizer.json` of the vocabulary.
fn write_tokenizer(folder: &Path) {
    let codec = WordPiece::from_file(&folder.join("vocab.txt")).unwrap();
    fs::write(folder.join("tokenizer.json"), codec.text()).unwrap();
}

/// The list of parts that sentence-transformers writes, with the transformer in the folder `path`.
fn write_modules(folder: &Path, path: &str) {
    let module = |idx: usize, path: &str, class: &str| json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.models.{class}") });
    let modules = json!([module(0, path, "Transformer"), module(1, "1_Pooling", "Pooling")]);
    fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("1_Pooling/config.json"), "{\"word_embedding_dimension\": 16}").unwrap();
}

/// A place with a BERT in `bert`, and a configuration that trains one step on it.
fn place() -> Workplace {
    let place = Workplace::new();
    write_bert(&place.path("bert"));
    let corpora = fixture("corpora").display().to_string();
    place.write(
        "hyperloader.toml",
        format!(
            "[backbone]\npath = \"bert\"\n[method]\nmethod = \"lora\"\n\
             [training]\nsteps = 1\nbatch_size = 4\nwarmup_steps = 0\nthreads = 1\ncalibrate = false\n\
             [task.snips]\nlayout = \"seq-in-out\"\ntrain = \"{corpora}/snips/train\"\nvalid = \"{corpora}/snips/valid\"\n"
        ),
    );
    place
}

/// Trains a step and returns the validation loss after it.
fn train(place: &Workplace, name: &str) -> f64 {
    let output = place.program("hl-train").args(["--quiet", "--name", "run"]).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let log = fs::read_to_string(place.path("runs/run/metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let validation = lines.into_iter().find(|line| line["kind"] == "validation").unwrap();
    validation["evaluation"]["loss"].as_f64().unwrap()
}

#[test]
fn every_form_of_a_folder_is_the_same_backbone() {
    let forms: [Case; 9] = [
        ("with `bert.` before each name, and `vocab.txt` alone", |_| ()),
        ("without `bert.`", |folder| rename(folder, bare)),
        ("with a pooler and heads", |folder| {
            add(folder, &["bert.pooler.dense.bias", "cls.predictions.bias", "classifier.bias"]);
        }),
        ("without `bert.`, with a pooler", |folder| {
            rename(folder, bare);
            add(folder, &["pooler.dense.bias"]);
        }),
        ("norms with the names of the first checkpoints", |folder| {
            rename(folder, |name| {
                name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
            });
        }),
        ("`vocab.txt` and `tokenizer.json`", write_tokenizer),
        ("`tokenizer.json` alone", |folder| {
            write_tokenizer(folder);
            fs::remove_file(folder.join("vocab.txt")).unwrap();
        }),
        ("sentence-transformers, the model in the folder itself", |folder| {
            rename(folder, bare);
            write_modules(folder, "");
        }),
        ("sentence-transformers, the model in `0_Transformer`", |folder| {
            rename(folder, bare);
            let inner = folder.with_file_name("inner");
            fs::rename(folder, &inner).unwrap();
            fs::create_dir(folder).unwrap();
            fs::rename(inner, folder.join("0_Transformer")).unwrap();
            write_modules(folder, "0_Transformer");
        }),
    ];
    let losses = forms.map(|(name, change)| {
        let place = place();
        change(&place.path("bert"));
        (name, train(&place, name))
    });
    for (name, loss) in losses {
        assert_eq!(loss, losses[0].1, "{name}");
    }
}

#[test]
fn casing_is_that_of_the_files_beside_the_vocabulary() {
    let cased: [Case; 3] = [
        ("`tokenizer_config.json`", |_| ()),
        ("`tokenizer.json`", |folder| {
            write_tokenizer(folder);
            fs::remove_file(folder.join("tokenizer_config.json")).unwrap();
        }),
        ("`tokenizer.json` alone", |folder| {
            write_tokenizer(folder);
            fs::remove_file(folder.join("tokenizer_config.json")).unwrap();
            fs::remove_file(folder.join("vocab.txt")).unwrap();
        }),
    ];
    let ids =
        |folder: &Path, word: &str| BertBackbone::open(folder).unwrap().codec().unwrap().word(word).unwrap();
    let uncased = place();
    assert_eq!(ids(&uncased.path("bert"), "Kent"), ids(&uncased.path("bert"), "kent"));
    let losses = cased.map(|(name, change)| {
        let place = place();
        let folder = place.path("bert");
        fs::write(folder.join("tokenizer_config.json"), "{\"do_lower_case\": false}").unwrap();
        change(&folder);
        assert_ne!(ids(&folder, "Kent"), ids(&folder, "kent"), "{name}");
        (name, train(&place, name))
    });
    for (name, loss) in losses {
        assert_eq!(loss, losses[0].1, "{name}");
    }
    assert_ne!(losses[0].1, train(&uncased, "uncased"));
}

#[test]
fn sentences_over_512_tokens_train_and_are_tagged_whole() {
    let place = place();
    let line = |words: Vec<String>| {
        let tags: Vec<&str> = (0..words.len()).map(|at| if at == 3 { "B-x" } else { "O" }).collect();
        json!({ "tokens": words, "tags": tags }).to_string()
    };
    let words = |n: usize| (0..n).map(|at| format!("w{at}")).collect::<Vec<String>>();
    // One word is longer than the limit: a dot is a token of its own.
    let dots = vec!["a".to_owned(), ".".repeat(600), "b".to_owned(), "c".to_owned()];
    let lines = [line(words(6)), line(words(700)), line(dots), line(words(5))];
    place.write("long.jsonl", lines.join("\n"));
    let config = fs::read_to_string(place.path("hyperloader.toml")).unwrap();
    let (head, _) = config.split_once("[task.snips]").unwrap();
    for (too_long, said) in [
        ("skip", "2 training sentences are too long and left out"),
        ("truncate", "cut off at the length limit"),
        ("window", "cut into windows"),
    ] {
        let head =
            head.replace("steps = 1", &format!("steps = 1\nmax_source_len = 512\ntoo_long = \"{too_long}\""));
        let task = "[task.long]\ntrain = \"long.jsonl\"\nvalid = \"long.jsonl\"\ntest = \"long.jsonl\"\n";
        place.write("hyperloader.toml", head + task);
        let output = place.program("hl-train").args(["--no-progress", "--name", too_long]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && log.contains(said), "{too_long}: {log}");
    }
    place.program("hl-export").args(["--quiet", "--run", "runs/window", "--task", "long"]).assert().success();
    for text in [words(700).join(" "), format!("a {} b", ".".repeat(600))] {
        let mut run = place.program("hl-run");
        run.args([
            "--model",
            "long.onnx",
            "--backend",
            "tract",
            "--words",
            "corpus",
            "--output-format",
            "jsonl",
        ]);
        let output = run.write_stdin(text.clone()).output().unwrap();
        let (out, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{log}");
        let record: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(record["text"], text, "{log}");
        assert!(record.get("error").is_none(), "{out}");
    }
}

/// What `hl-train` answers to a changed folder.
fn refused(method: &str, change: impl FnOnce(&Path)) -> String {
    let place = place();
    change(&place.path("bert"));
    let mut program = place.program("hl-train");
    let transcript = place.transcript(program.args(["--quiet", "--method", method]));
    assert!(transcript.starts_with("exit: 1\n"), "{transcript}");
    assert!(!place.path("runs").exists(), "{transcript}");
    transcript
}

#[test]
fn a_configuration_that_cannot_be_run_is_named_with_its_file_field_and_value() {
    for (name, field, value) in [
        ("hidden_size_of_other_tensors", "hidden_size", json!(32)),
        ("hidden_size_that_heads_do_not_divide", "hidden_size", json!(15)),
        ("hidden_size_of_text", "hidden_size", json!("16")),
        ("hidden_size_missing", "hidden_size", Value::Null),
        ("too_few_layers", "num_hidden_layers", json!(1)),
        ("too_many_layers", "num_hidden_layers", json!(3)),
        ("intermediate_size", "intermediate_size", json!(64)),
        ("vocab_size", "vocab_size", json!(100)),
        ("positions", "max_position_embeddings", json!(256)),
        ("relative_positions", "position_embedding_type", json!("relative_key_query")),
        ("activation", "hidden_act", json!("gelu_new")),
        ("decoder", "is_decoder", json!(true)),
        ("roberta", "model_type", json!("roberta")),
        ("distilbert", "model_type", json!("distilbert")),
        ("model_type_of_a_number", "model_type", json!(7)),
    ] {
        insta::assert_snapshot!(name, refused("lora", |folder| set(folder, field, value)));
    }
    for method in ["unipelt-bert", "hyperdecoder"] {
        let transcript = refused(method, |folder| set(folder, "model_type", "roberta"));
        insta::assert_snapshot!(format!("roberta_for_{method}"), transcript);
    }
}

#[test]
fn files_that_are_missing_or_damaged_are_named() {
    let remove = |folder: &Path, name: &str| fs::remove_file(folder.join(name)).unwrap();
    let cases: [Case; 12] = [
        ("missing_tensor", |folder| {
            change(folder, |mut tensors| {
                tensors.remove("bert.encoder.layer.1.attention.self.value.weight").unwrap();
                tensors
            });
        }),
        ("unknown_tensor", |folder| add(folder, &["bert.crf.transitions"])),
        ("tensor_not_finite", |folder| {
            change(folder, |mut tensors| {
                tensors.get_mut("bert.encoder.layer.0.output.dense.bias").unwrap().fill(f32::NAN);
                tensors
            });
        }),
        ("cut_off_weights", |folder| {
            let path = folder.join(WEIGHTS);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("pickled_weights", |folder| {
            fs::rename(folder.join(WEIGHTS), folder.join("pytorch_model.bin")).unwrap();
        }),
        ("empty_vocabulary", |folder| fs::write(folder.join("vocab.txt"), "").unwrap()),
        ("vocabulary_without_separator", |folder| {
            fs::write(folder.join("vocab.txt"), vocabulary().replace("[SEP]", "[END]")).unwrap();
        }),
        ("vocabulary_of_another_model", |folder| {
            fs::write(folder.join("vocab.txt"), vocabulary() + "more\n").unwrap();
        }),
        ("damaged_tokenizer", |folder| fs::write(folder.join("tokenizer.json"), "{\"version\": ").unwrap()),
        ("damaged_casing", |folder| {
            fs::write(folder.join("tokenizer_config.json"), "{\"do_lower_case\": \"no\"}").unwrap();
        }),
        ("damaged_configuration", |folder| fs::write(folder.join("config.json"), "{").unwrap()),
        ("part_of_sentence_transformers_missing", |folder| {
            fs::remove_file(folder.join("config.json")).unwrap();
            write_modules(folder, "0_Transformer");
        }),
    ];
    for (name, change) in cases {
        insta::assert_snapshot!(name, refused("lora", change));
    }
    for (name, file) in
        [("no_tokenizer", "vocab.txt"), ("no_weights", WEIGHTS), ("no_configuration", "config.json")]
    {
        insta::assert_snapshot!(name, refused("lora", |folder| remove(folder, file)));
    }
}
