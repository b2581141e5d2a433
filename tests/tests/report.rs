//! What a training shows: its log on stderr, and the page, plots and event files in its folder.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use hyperloader_tests::{Workplace, tiny_config};
use hyperloader_trainer::record::tensorboard;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;

const TASKS: [&str; 2] = ["atis", "movie"];

/// A place where a run of 20 updates, each of them logged, has ended; and its folder. It is trained once and copied.
fn trained() -> (Workplace, PathBuf) {
    static ORIGINAL: LazyLock<Workplace> = LazyLock::new(|| {
        let place = Workplace::new();
        place.write("hyperloader.toml", tiny_config().replace("[training]", "[training]\nlog_every = 1"));
        place.program("hl-train").args(["--name", "run", "--quiet", "--threads", "1"]).assert().success();
        place
    });
    let place = Workplace::new();
    copy(&ORIGINAL.path("runs"), &place.path("runs"));
    let run = place.path("runs/run");
    (place, run)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An element of a page with its attributes.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
}

/// The elements of a page, which must close each tag that it opens, and its text.
fn parse(page: &str) -> (Vec<Element>, String) {
    let mut reader = Reader::from_str(page);
    reader.config_mut().check_end_names = false;
    let (mut open, mut elements, mut text) = (Vec::new(), Vec::new(), String::new());
    loop {
        let event = reader.read_event().unwrap();
        match &event {
            Event::Start(tag) | Event::Empty(tag) => {
                let name = tag.name().as_ref().to_owned();
                let attributes = tag.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    (attribute.key.as_ref().to_owned(), attribute.value.into_owned())
                });
                let attributes = attributes.collect();
                elements.push(Element { name: name.clone(), attributes });
                // HTML's `meta` has no end tag.
                if matches!(event, Event::Start(_)) && name != "meta" {
                    open.push(name);
                }
            }
            Event::End(tag) => {
                let name = tag.name().as_ref().to_owned();
                assert_eq!(open.pop(), Some(name));
            }
            Event::Text(part) => text.push_str(part),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(open, Vec::<String>::new());
    (elements, text)
}

/// Points of each curve of a page, without the short lines of axes and legends.
fn curves(elements: &[Element]) -> Vec<usize> {
    let lines = elements.iter().filter(|e| e.name == "polyline" && e.attributes["stroke-width"] == "2");
    let mut points: Vec<usize> =
        lines.map(|line| line.attributes["points"].split_whitespace().count()).collect();
    points.sort_unstable();
    points
}

#[test]
fn the_page_is_well_formed_self_contained_and_holds_each_tasks_curves_and_tables() {
    let (_place, run) = trained();
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    let (elements, text) = parse(&page);

    let count = |name: &str| elements.iter().filter(|e| e.name == name).count();
    assert_eq!(
        (count("html"), count("script"), count("link"), count("img"), count("iframe")),
        (1, 0, 0, 0, 0)
    );
    for element in &elements {
        for (name, value) in &element.attributes {
            assert!(!["src", "href", "srcset", "data"].contains(&name.as_str()), "{name}={value}");
        }
    }
    let without_namespace = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for load in ["http://", "https://", "@import", "url("] {
        assert!(!without_namespace.contains(load), "{load}");
    }

    // Two overviews; loss and F1 of each task.
    assert_eq!(count("svg"), 2 + 2 * TASKS.len());
    let metrics = metrics(&run);
    let logged = |task: &str| metrics.iter().filter(|m| m["kind"] == "train" && m["task"] == task).count();
    let validations = 2;
    let mut expected = Vec::new();
    for task in TASKS {
        assert!(text.contains(&format!("Task {task}")), "{text}");
        assert!(logged(task) > 2, "{task}");
        // Training loss and F1 twice, validation loss once, each with its sample in the legend.
        expected.extend([logged(task), logged(task), validations, validations, validations, 2, 2, 2, 2, 2]);
    }
    expected.sort_unstable();
    assert_eq!(curves(&elements), expected);

    for heading in ["Scores", "Configuration", "Labels on test data", "Confusion of labels on test data"] {
        assert!(text.contains(heading), "{heading}");
    }
    assert!(text.contains("learning_rate = 0.001"), "the configuration is shown");
    let outcome: Value = serde_json::from_slice(&fs::read(run.join("outcome.json")).unwrap()).unwrap();
    for task in TASKS {
        for split in ["validation", "test"] {
            let loss = outcome[split][task]["loss"].as_f64().unwrap();
            assert!(text.contains(&format!("{loss:.4}")), "{split} loss {loss} of {task}");
        }
        let worst = outcome["test"][task]["details"]["worst"].as_array().unwrap();
        assert!(!worst.is_empty() && worst.len() <= 20);
        let word = worst[0]["words"][0].as_str().unwrap();
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn an_outcome_accounts_for_every_gold_span_and_is_logged_without_its_details() {
    let (_place, run) = trained();
    let outcome: Value = serde_json::from_slice(&fs::read(run.join("outcome.json")).unwrap()).unwrap();
    for task in TASKS {
        let details = &outcome["test"][task]["details"];
        let gold: u64 = details["confusion"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|cell| !cell["gold"].is_null())
            .map(|cell| cell["count"].as_u64().unwrap())
            .sum();
        let per_label = details["per_label"].as_object().unwrap();
        let support: u64 = per_label.values().map(|scores| scores["support"].as_u64().unwrap()).sum();
        assert!(gold > 0);
        assert_eq!(gold, support, "{task}");
    }
    for line in metrics(&run) {
        assert!(!line.to_string().contains("details"), "{line}");
    }
}

#[test]
fn plots_decode_and_are_not_blank() {
    let (_place, run) = trained();
    for name in ["loss.png", "f1.png"] {
        let file = fs::read(run.join("plots").join(name)).unwrap();
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (1440, 720), "{name}");
        let colors: std::collections::BTreeSet<&[u8]> = pixels.chunks(3).collect();
        assert!(colors.len() > 10, "{name} has {} colours", colors.len());
    }
}

fn event_files(run: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(tensorboard::PREFIX)).collect()
}

/// Scalars of a run's event file, by tag and step.
fn scalars(run: &Path) -> BTreeMap<(String, i64), f32> {
    let files = event_files(run);
    assert_eq!(files.len(), 1);
    let events = tensorboard::read(&files[0]).unwrap();
    assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
    let of = |event: tensorboard::Event| {
        let step = event.step;
        let values = event.summary.map(|summary| summary.value).unwrap_or_default();
        values.into_iter().map(move |value| ((value.tag, step), value.simple_value.unwrap()))
    };
    events.into_iter().flat_map(of).collect()
}

#[test]
fn event_files_hold_the_numbers_of_the_metrics_and_are_added_to_when_a_run_goes_on() {
    let (place, run) = trained();
    let check = || {
        let scalars = scalars(&run);
        let mut checked = 0;
        let mut same = |tag: String, step: &Value, value: &Value| {
            let found = scalars[&(tag, step.as_i64().unwrap())];
            assert_eq!(found, value.as_f64().unwrap() as f32);
            checked += 1;
        };
        for line in metrics(&run) {
            match line["kind"].as_str().unwrap() {
                "train" => {
                    let task = line["task"].as_str().unwrap();
                    same(format!("train_loss/{task}"), &line["step"], &line["loss"]);
                    same("optimizer/learning_rate".into(), &line["step"], &line["learning_rate"]);
                }
                "validation" => {
                    let task = line["task"].as_str().unwrap();
                    same(format!("validation_f1/{task}"), &line["step"], &line["evaluation"]["f1"]);
                }
                "outcome" => {
                    for task in TASKS {
                        same(format!("test_loss/{task}"), &line["best_step"], &line["test"][task]["loss"]);
                    }
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(checked, 20 * 2 + 2 * TASKS.len() + TASKS.len());
        scalars.len()
    };
    let before = check();
    place.program("hl-train").args(["--resume", "runs/run", "--quiet", "--threads", "1"]).assert().success();
    assert_eq!(check(), before);
}

#[test]
fn report_makes_the_same_page_and_plots_again() {
    let (place, run) = trained();
    let files = ["report.html", "plots/loss.png", "plots/f1.png"];
    let read = || files.map(|name| fs::read(run.join(name)).unwrap());
    let first = read();
    files.iter().for_each(|name| fs::remove_file(run.join(name)).unwrap());
    let output = place.program("hl-train").args(["report", "runs/run"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "runs/run/report.html\n");
    assert!(output.stderr.is_empty());
    assert!(read() == first);
    // Without a name it is the newest.
    place.program("hl-train").arg("report").assert().success().stdout("runs/run/report.html\n");
}

#[test]
fn a_run_that_was_cut_is_reported_without_a_last_evaluation() {
    let (place, run) = trained();
    fs::remove_file(run.join("outcome.json")).unwrap();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<&str> = metrics.lines().collect();
    // The first evaluation is whole; the line that was being written is not.
    let kept = 10 + TASKS.len();
    fs::write(run.join("metrics.jsonl"), format!("{}\n{}", lines[..kept].join("\n"), &lines[kept][..30]))
        .unwrap();
    place.program("hl-train").args(["report", "runs/run"]).assert().success();
    let (elements, text) = parse(&fs::read_to_string(run.join("report.html")).unwrap());
    assert!(text.contains("This run is not finished"), "{text}");
    assert!(text.contains("after 10 updates"), "{text}");
    assert_eq!(elements.iter().filter(|e| e.name == "svg").count(), 2 + 2 * TASKS.len());
}

#[test]
fn what_cannot_be_reported_on_is_named() {
    let (place, run) = trained();
    let mut answers = Vec::new();
    let mut report = |folder: &str| {
        answers.push(place.transcript(place.program("hl-train").args(["report", folder])));
    };
    report("runs/none");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    fs::write(run.join("metrics.jsonl"), metrics.replacen("\"step\":2,", "\"step\":\"two\",", 1)).unwrap();
    report("runs/run");
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    report("runs/run");
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    report("runs/run");
    fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    fs::write(run.join("outcome.json"), "{}").unwrap();
    report("runs/run");
    insta::assert_snapshot!(answers.join("\n\n"));
}

/// Numbers differ between machines.
fn without_numbers(text: &str) -> String {
    let mut result = String::new();
    let mut in_number = false;
    for c in text.chars() {
        let digit = c.is_ascii_digit() || (in_number && c == '.');
        if digit && !in_number {
            result.push('N');
        }
        in_number = digit;
        if !digit {
            result.push(c);
        }
    }
    result
}

#[test]
fn a_log_that_no_terminal_reads_is_plain_lines() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    let stderr = |name: &str, option: &[&str]| {
        let mut command = place.program("hl-train");
        let arguments = ["--name", name, "--steps", "2", "--threads", "1"];
        let output = command.args(arguments).args(option).env_remove("NO_COLOR").output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
        // A model of two updates looks untrained, which is a warning even with `--quiet`.
        let warns = |line: &&str| line.starts_with("warning: ") || line.starts_with("hint: ");
        text.lines().filter(|line| !warns(line)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let log = stderr("run", &["--no-progress"]);
    insta::assert_snapshot!(without_numbers(&log));
    assert_eq!(stderr("quiet", &["--quiet"]), "");
}

#[test]
fn evaluation_aligns_by_order_or_by_sentinel() {
    let place = Workplace::new();
    let config = |alignment: &str| {
        tiny_config().replace("[training]", &format!("[training]\nalignment = \"{alignment}\""))
    };
    place.write("hyperloader.toml", config("sentinel"));
    let arguments = ["--steps", "1", "--quiet", "--threads", "1"];
    place.program("hl-train").args(arguments).assert().success();
    place.write("hyperloader.toml", config("sentinels"));
    insta::assert_snapshot!(place.transcript(&mut place.program("hl-train")));
}
