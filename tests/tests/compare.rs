//! `hl-train compare`: methods x fractions x seeds on the excerpts, cut and gone on with, and the tables of the paper.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hyperloader_tests::{Workplace, binaries, root, tiny_config};

/// What [`place`] compares: 8 runs of 3 steps.
const COMPARE: &str = "base = \"base.toml\"\nmethods = [\n  \"hyperformer++\",\n  \
    { name = \"hyperloader\", label = \"loader\", method = { reduction_factor = 8, lora = { alpha = 4.0 } } },\n]\n\
    fractions = [1.0, 0.5]\nseeds = [1, 2]\nresamples = 200\n";

/// A place with a compare file and its base. Three steps of four sentences; hyperformer++ has its own reduction factor.
fn place() -> Workplace {
    let place = Workplace::new();
    let base = tiny_config()
        .replace("[method]\nreduction_factor = 8\n\n", "")
        .replace("steps = 20", "steps = 3\nthreads = 1\nsave_every = 1");
    place.write("base.toml", base);
    place.write("compare.toml", COMPARE);
    place
}

fn compare(place: &Workplace) -> assert_cmd::Command {
    let mut command = place.program("hl-train");
    command.arg("compare");
    command
}

/// The text of every file that a comparison writes beside its runs, by name.
fn tables(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), std::fs::read(path).unwrap()))
        .collect()
}

/// The files `scores.json` in a folder, at any depth.
fn stored_scores(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| match path.is_dir() {
        true => stored_scores(&path),
        false => vec![path],
    });
    found.filter(|path| path.ends_with("scores.json")).collect()
}

/// Scores depend on the processor, so numbers, widths and what is bold are left out of snapshots.
fn filters() -> Vec<(&'static str, &'static str)> {
    vec![
        (r"\*\*", ""),
        (r"p [<=] [0-9.]+(e-\d+)?", "[P]"),
        (r"[+-]?\d+\.\d{4}\b", "[N]"),
        (r"\d+\.\d{5,}(e-\d+)?", "[N]"),
        (r" +", " "),
        (r"-{2,}:?", "--"),
    ]
}

#[test]
fn a_comparison_that_is_cut_and_gone_on_with_gives_the_tables_of_one_that_is_not() {
    let whole = place();
    let output = compare(&whole).args(["--no-progress"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    assert_eq!(log.matches("run `compare/runs/").count(), 8, "{log}");

    let cut = place();
    let mut child = Command::new(binaries().join("hl-train"))
        .args(["compare", "--no-progress"])
        .current_dir(cut.path("."))
        .env("OMP_WAIT_POLICY", "passive")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Inside the third run.
    while !cut.path("compare/runs/hyperformer++/1/1/manifest.json").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let stopped = child.wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert_eq!(stopped.status.code(), Some(130), "{log}");
    assert!(log.contains("the same command continues"), "{log}");
    assert!(!cut.path("compare/table3.md").exists());

    // Half of a comparison has tables, too.
    let half = compare(&cut).arg("--only-tables").output().unwrap();
    let half = String::from_utf8(half.stdout).unwrap();
    assert!(half.contains("| -") && half.contains("0 of 2"), "{half}");

    let begun = std::fs::read(cut.path("compare/runs/hyperformer++/0.5/1/scores.json")).unwrap();
    let output = compare(&cut).args(["--no-progress", "--jobs", "2"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    assert!(log.contains("\nloader/1/2: step 3"), "{log}");
    assert!(log.contains("8 runs, ") && !log.contains("8 runs, 0 of them done"), "{log}");
    assert_eq!(std::fs::read(cut.path("compare/runs/hyperformer++/0.5/1/scores.json")).unwrap(), begun);
    // Three steps tag nothing: the hashes of the checkpoints show that the runs are the same.
    for run in ["hyperformer++/0.5/1", "loader/0.5/1", "hyperformer++/1/1", "loader/1/1", "loader/1/2"] {
        let manifest = |place: &Workplace| {
            std::fs::read_to_string(place.path(&format!("compare/runs/{run}/manifest.json"))).unwrap()
        };
        assert!(manifest(&whole) == manifest(&cut), "{run} differs");
    }
    let (whole, cut) = (tables(&whole.path("compare")), tables(&cut.path("compare")));
    let names: Vec<&str> = whole.keys().map(String::as_str).collect();
    let expected = [
        "figure2.csv",
        "figure2.png",
        "methods.toml",
        "significance.csv",
        "significance.md",
        "table3.csv",
        "table3.md",
        "table4.csv",
        "table4.md",
    ];
    assert_eq!(names, expected);
    assert_eq!(cut.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for name in names {
        assert!(whole[name] == cut[name], "`{name}` differs");
    }
    insta::with_settings!({filters => filters()}, {
        for name in ["table3.md", "table3.csv", "table4.md", "significance.md", "significance.csv", "figure2.csv"] {
            insta::assert_snapshot!(name.replace('.', "_"), String::from_utf8_lossy(&whole[name]));
        }
    });
    let png = png::Decoder::new(std::io::Cursor::new(&whole["figure2.png"])).read_info().unwrap();
    assert_eq!((png.info().width, png.info().height), (1440, 900));
}

#[test]
fn tables_hold_what_the_runs_scored() {
    let place = place();
    place.write(
        "compare.toml",
        COMPARE.replace("fractions = [1.0, 0.5]\n", "").replace("\"hyperformer++\",", "\"hyperloader\","),
    );
    let output = compare(&place).args(["--quiet", "--output-format", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Three steps tag nothing, of which `--quiet` still warns.
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.lines().all(|line| line.starts_with("warning: ") || line.starts_with("hint: ")),
        "{stderr}"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["done"], &report["runs"]), (&4.into(), &4.into()));
    for (row, label) in report["table3"].as_array().unwrap().iter().zip(["hyperloader", "loader"]) {
        assert_eq!(row["method"], label);
        let outcomes: Vec<serde_json::Value> = ["1", "2"]
            .map(|seed| {
                let run = place.path(&format!("compare/runs/{label}/1/{seed}"));
                let text = std::fs::read_to_string(run.join("outcome.json")).unwrap();
                let scores = std::fs::read_to_string(run.join("scores.json")).unwrap();
                let (outcome, scores): (serde_json::Value, serde_json::Value) =
                    (serde_json::from_str(&text).unwrap(), serde_json::from_str(&scores).unwrap());
                check_counts(&outcome, &scores);
                outcome
            })
            .into();
        let f1 = |task: &str| {
            let of = |outcome: &serde_json::Value| outcome["test"][task]["f1"].as_f64().unwrap();
            outcomes.iter().map(of).sum::<f64>() / 2.0
        };
        let (atis, movie) = (f1("atis"), f1("movie"));
        assert_close(&row["tasks"]["atis"]["mean"], atis);
        assert_close(&row["tasks"]["movie"]["mean"], movie);
        assert_close(&row["mean"]["mean"], (atis + movie) / 2.0);
    }
    // The label's own reduction factor makes it the larger one.
    let trainable = |row: usize| report["table3"][row]["parameters"]["trainable"].as_u64().unwrap();
    assert!(trainable(1) > trainable(0));
    assert_eq!(report["table4"].as_array().unwrap().len(), 2);
    // Two methods, both ways, on two tasks and their mean.
    let tests = report["significance"].as_array().unwrap();
    assert_eq!(tests.len(), 6);
    assert!(tests.iter().all(|test| (0.0..=1.0).contains(&test["p"].as_f64().unwrap())));

    // A second call trains nothing; more seeds may be added.
    let before =
        std::fs::metadata(place.path("compare/runs/loader/1/2/scores.json")).unwrap().modified().unwrap();
    let config = std::fs::read_to_string(place.path("compare.toml")).unwrap();
    place.write(
        "compare.toml",
        config.replace("seeds = [1, 2]", "seeds = [2, 3]").replace("{ name", "#{ name"),
    );
    let output = compare(&place).args(["--no-progress"]).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && log.contains("2 runs, 1 of them done"), "{log}");
    let after =
        std::fs::metadata(place.path("compare/runs/loader/1/2/scores.json")).unwrap().modified().unwrap();
    assert_eq!(before, after);
}

/// The counts of all sentences together give the run's F1.
fn check_counts(outcome: &serde_json::Value, scores: &serde_json::Value) {
    for task in ["atis", "movie"] {
        let test = scores["tasks"][task]["test"].as_array().unwrap();
        let sum = |part: usize| test.iter().map(|counts| counts[part].as_u64().unwrap()).sum::<u64>() as f64;
        assert_eq!(test.len() as u64, outcome["test"][task]["sentences"].as_u64().unwrap());
        let f1 = if sum(0) == 0.0 { 0.0 } else { 2.0 * sum(0) / (sum(1) + sum(2)) };
        assert_close(&outcome["test"][task]["f1"], f1);
    }
}

fn assert_close(found: &serde_json::Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

/// The scores of a run that was never trained: span counts of three sentences of each task.
fn made_up_scores(place: &Workplace, run: &str, atis: [[usize; 3]; 3], movie: [[usize; 3]; 3]) {
    let task = |counts: [[usize; 3]; 3]| {
        let sum = |part: usize| counts.iter().map(|sentence| sentence[part]).sum::<usize>() as f64;
        serde_json::json!({ "validation_f1": null, "test_f1": 2.0 * sum(0) / (sum(1) + sum(2)), "test": counts })
    };
    let scores = serde_json::json!({
        "best_step": 3, "train_seconds": 1.5, "samples": 12, "parameters": { "trainable": 1000, "total": 1234567 },
        "tasks": { "atis": task(atis), "movie": task(movie) },
    });
    place.write(&format!("compare/runs/{run}/scores.json"), scores.to_string());
}

#[test]
fn means_deviations_and_significance_are_those_of_the_scores() {
    let place = place();
    let file = COMPARE.replace("[1.0, 0.5]", "[1.0]").replace("\"loader\"", "\"a|b\"");
    place.write("compare.toml", file);
    let tables = || compare(&place).args(["--quiet", "--only-tables"]).output().unwrap();
    assert!(tables().status.success());
    let (all, half, none) = ([[1, 1, 1]; 3], [[1, 1, 1], [1, 3, 1], [0, 0, 1]], [[0, 1, 1]; 3]);
    // F1 of `half`: 2 * 2 / (4 + 3) = 4/7.
    made_up_scores(&place, "hyperformer++/1/1", all, half);
    made_up_scores(&place, "hyperformer++/1/2", half, half);
    made_up_scores(&place, "a|b/1/2", none, half);
    let output = tables();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // (1 + 4/7) / 2 = 0.7857, deviation (3/7) / sqrt 2 = 0.3030; half of both for the mean of the tasks.
    let row = "| hyperformer++ | **0.7857 ± 0.3030** | **0.5714 ± 0.0000** | **0.6786 ± 0.1515** |     1,000 | 1,234,567 |      12 | 2 of 2 |";
    assert!(text.contains(row), "{text}");
    assert!(
        text.contains("| a\\|b          |              0.0000 |          **0.5714** |              0.2857 |"),
        "{text}"
    );
    assert!(text.contains("3 of 4 runs are done"), "{text}");
    assert!(text.contains("difference to a\\|b") && text.contains(" +0.3929 |"), "{text}");
    // Of seed 2, that both have. Whatever is drawn, the first is not 2 * 4/7 better: F1 is at most 1.
    let tests = std::fs::read_to_string(place.path("compare/significance.csv")).unwrap();
    let field = |start: &str| {
        let line = tests.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{tests}"));
        line.strip_prefix(start).unwrap().split(',').map(|n| n.parse().unwrap()).collect::<Vec<f64>>()
    };
    let [seeds, difference, p] = field("1,atis,hyperformer++,a|b,")[..] else { panic!("{tests}") };
    assert!(seeds == 1.0 && (difference - 4.0 / 7.0).abs() < 1e-12 && p == 0.0, "{tests}");
    assert_eq!(field("1,movie,hyperformer++,a|b,"), [1.0, 0.0, 1.0]);
    assert_eq!(field("1,movie,a|b,hyperformer++,"), [1.0, 0.0, 1.0]);
    let text = std::fs::read_to_string(place.path("compare/significance.md")).unwrap();
    assert!(text.contains("+0.5714 (**p < 0.005**)") && text.contains("+0.0000 (p = 1.0000)"), "{text}");
    // Another corpus has other gold spans.
    made_up_scores(&place, "a|b/1/1", [[1, 1, 1], [1, 1, 2], [1, 1, 1]], half);
    insta::assert_snapshot!(place.transcript(compare(&place).args(["--quiet", "--only-tables"])));
}

#[test]
fn the_help_of_compare_lists_its_options() {
    insta::assert_snapshot!(place().transcript(compare(&place()).arg("--help")));
}

#[test]
fn a_compare_file_that_cannot_be_is_refused_with_what_would_do() {
    for (name, from, to) in [
        ("unknown_method", "\"hyperformer++\"", "\"hyperfomer++\""),
        ("unknown_method_in_table", "name = \"hyperloader\"", "name = \"hyperlaoder\""),
        ("unknown_field", "fractions =", "fraction ="),
        ("unknown_field_of_a_method", "label =", "lable ="),
        ("unknown_hyper_parameter", "reduction_factor = 8", "reduction_facto = 8"),
        ("impossible_hyper_parameter", "reduction_factor = 8", "reduction_factor = 5"),
        ("wrong_type", "reduction_factor = 8", "reduction_factor = \"8\""),
        ("unknown_task", "seeds =", "tasks = [\"atsi\"]\nseeds ="),
        ("empty_seeds", "seeds = [1, 2]", "seeds = []"),
        ("seed_twice", "seeds = [1, 2]", "seeds = [1, 1]"),
        ("negative_seed", "seeds = [1, 2]", "seeds = [-1]"),
        ("no_seeds", "seeds =", "# seeds ="),
        ("fraction_too_large", "0.5", "1.5"),
        ("fraction_0", "0.5", "0"),
        ("fraction_leaves_none", "0.5", "0.001"),
        ("no_fraction", "[1.0, 0.5]", "[]"),
        ("no_method", "methods = [", "methods = []\n#"),
        ("label_twice", "\"loader\"", "\"hyperformer++\""),
        ("label_outside", "\"loader\"", "\"../loader\""),
        ("budget", "resamples", "budget = \"equl\"\nresamples"),
        ("budget_not_equal", "label =", "training = { batch_size = 8 }, label ="),
        ("overridden_fraction", "label =", "training = { fraction = 0.1 }, label ="),
        ("overridden_method", "reduction_factor = 8", "method = \"hyperformer++\""),
        ("no_base", "base.toml", "bases.toml"),
        ("base_of_wrong_type", "base = \"base.toml\"", "base = 3"),
        ("resamples", "resamples = 200", "resamples = 0"),
    ] {
        let place = place();
        assert!(COMPARE.contains(from), "{name}: `{from}`");
        let mut changed = COMPARE.replacen(from, to, 1);
        if name == "no_method" {
            changed = changed
                .replace("\n  \"hyperf", "\n# \"hyperf")
                .replace("\n  {", "\n# {")
                .replace("\n]\n", "\n");
        }
        place.write("compare.toml", changed);
        let transcript = place.transcript(compare(&place).arg("--quiet"));
        assert!(!place.path("compare/runs").exists(), "{transcript}");
        // Methods and their hyper-parameters are listed elsewhere.
        let filters = vec![("known are `hyper.*", "known are [METHODS]"), ("expected one of .*", "[FIELDS]")];
        insta::with_settings!({filters => filters}, {
            insta::assert_snapshot!(name, transcript);
        });
    }
}

#[test]
fn a_base_in_the_file_itself_is_as_good_and_what_of_it_has_no_effect_is_said() {
    let place = place();
    let base = std::fs::read_to_string(place.path("base.toml")).unwrap().replace("[", "[base.");
    let file = COMPARE.replace("base = \"base.toml\"\n", "") + "\n[base]\nseed = 7\n" + &base;
    place.write("compare.toml", file.replace("steps = 3", "steps = 3\nfraction = 0.3"));
    let output = compare(&place).arg("--only-tables").output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let warning = "of `compare.toml`, `base.seed`, `base.training.fraction` have no effect";
    assert!(log.contains(warning), "{log}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("| method ") && table.contains("| loader ") && table.contains("0 of 8 runs"),
        "{table}"
    );
    let without_tasks = file.split("[base.task").next().unwrap().to_owned();
    place.write("compare.toml", &without_tasks);
    insta::assert_snapshot!("no_task", place.transcript(&mut compare(&place)));
    // Corpora of the paper take the place of tasks that are there or not.
    place.write("compare.toml", without_tasks.replace("seeds", "tasks = [\"snips\", \"mtop\"]\nseeds"));
    let corpora = hyperloader_tests::fixture("corpora");
    let output = compare(&place).args(["--quiet", "--only-tables", "--data"]).arg(corpora).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && table.contains("| method        | mtop | snips |"), "{table}");
    place.write("compare.toml", file.replace("batch_size", "batch_sise"));
    insta::with_settings!({filters => vec![("expected one of .*", "[FIELDS]")]}, {
        insta::assert_snapshot!("unknown_field_of_the_base", place.transcript(&mut compare(&place)));
    });
}

#[test]
fn a_run_that_fails_is_named_and_the_others_go_on() {
    let place = place();
    let file = COMPARE.replace("[1.0, 0.5]", "[0.5]").replace("seeds = [1, 2]", "seeds = [1]");
    let wild = "{ name = \"hyperformer++\", training = { learning_rate = 1e30, warmup_steps = 0 } }";
    place.write("compare.toml", file.replace("\"hyperformer++\"", wild));
    let output = compare(&place).arg("--quiet").output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.starts_with("error: `hyperformer++`, fraction 0.5, seed 1: "), "{log}");
    assert!(log.contains("error: 1 of 2 runs failed: `hyperformer++`, fraction 0.5, seed 1\n"), "{log}");
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("0 of 1") && table.contains("1 of 1"), "{table}");
}

#[test]
fn the_folder_of_another_comparison_is_refused_with_both_sides() {
    let place = place();
    let small = COMPARE.replace("seeds = [1, 2]", "seeds = [1]").replace("[1.0, 0.5]", "[0.5]");
    place.write("compare.toml", &small);
    compare(&place).arg("--quiet").assert().success();
    let refused = |file: &str| {
        place.write("other.toml", file);
        place.transcript(compare(&place).args(["--quiet", "--config", "other.toml"]))
    };
    insta::assert_snapshot!(
        "other_hyper_parameter",
        refused(&small.replace("reduction_factor = 8", "reduction_factor = 4"))
    );
    let base = std::fs::read_to_string(place.path("base.toml")).unwrap();
    place.write("base2.toml", base.replace("steps = 3", "steps = 4"));
    insta::assert_snapshot!("other_base", refused(&small.replace("base.toml", "base2.toml")));
    let tasks = small.replace("seeds", "tasks = [\"atis\"]\nseeds").replace("\"loader\"", "\"mine\"");
    let tasks = tasks.replace("\"hyperformer++\"", "{ name = \"hyperformer++\", label = \"yours\" }");
    insta::assert_snapshot!("other_tasks", refused(&tasks));
    // What was there still counts.
    compare(&place).args(["--quiet", "--only-tables"]).assert().success();
    place.write("taken/notes", "mine");
    insta::assert_snapshot!("no_comparison", refused(&format!("out = \"taken\"\n{small}")));
    assert_eq!(std::fs::read_dir(place.path("taken")).unwrap().count(), 1);
    place.write("compare/runs/loader/0.5/1/scores.json", "{}");
    insta::assert_snapshot!("no_scores", refused(&small));
}

#[test]
fn the_published_tables_of_minilm_are_those_of_the_stored_scores() {
    const OUT: &str = "bench/compare/minilm";
    let (place, published) = (Workplace::new(), root().join(OUT));
    let scores = stored_scores(&published.join("runs"));
    assert!(!scores.is_empty());
    let configuration =
        ["minilm.toml", "minilm-base.toml"].map(|name| root().join("bench/compare").join(name));
    let needed = [published.join("methods.toml")];
    for file in scores.iter().chain(&configuration).chain(&needed) {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
        place.write(name, std::fs::read(file).unwrap());
    }
    compare(&place).args(["--config", "bench/compare/minilm.toml", "--only-tables"]).assert().success();
    let [mut written, mut published] = [place.path(OUT), published].map(|folder| tables(&folder));
    for files in [&mut written, &mut published] {
        // Fonts are drawn in another way on another system.
        files.remove("figure2.png").unwrap();
    }
    assert!(written.keys().eq(published.keys()));
    for (name, published) in published {
        assert!(written[&name] == published, "{name}");
    }

    let table = String::from_utf8(written.remove("table3.md").unwrap()).unwrap();
    let page = std::fs::read_to_string(root().join("docs/results/minilm.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.contains(" 0 of "));
    for row in rows.filter(|row| row.contains("0.")) {
        assert!(page.contains(row), "{row}");
    }
}
