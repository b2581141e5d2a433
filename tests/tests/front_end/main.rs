//! What all programs and commands have in common: closed pipes, full disks, unknown options, colors, output formats,
//! completions and man pages. The commands are those in the help texts, so a new one is tested from its first day.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod terminal;

use std::collections::BTreeSet;
use std::io::{PipeWriter, pipe};
use std::process::{Command, Output, Stdio};

use hyperloader_tests::{Workplace, binaries, tiny_config};

/// A command: the program and, if it is not the plain program, the name of the command.
type Name = (&'static str, Option<String>);

const PROGRAMS: [&str; 4] = ["hl-train", "hl-export", "hl-run", "hl-serve"];
const SHELLS: [&str; 5] = ["bash", "elvish", "fish", "powershell", "zsh"];

/// A call of each command that prints data, in the folder of [`place`]. `records` tells whether it has `--output-format`.
const CALLS: [(&str, &str, bool); 25] = [
    ("hl-train", "--config train.toml --steps 1 --threads 1 --quiet", true),
    ("hl-train compare", "--only-tables --quiet", true),
    (
        "hl-train tune",
        "--config train.toml --steps 1 --tasks atis --learning-rates 1e-4,1e-3 --threads 1 --quiet",
        true,
    ),
    ("hl-train corpora", "--config train.toml --quiet", true),
    ("hl-train init", "--data corpus.conll --force --quiet", true),
    ("hl-train params", "--quiet", true),
    ("hl-train drafter", "runs/done --threads 1 --quiet", true),
    ("hl-train calibrate", "runs/done --threads 1 --quiet", true),
    ("hl-train report", "runs/done", true),
    ("hl-train watch", "runs/done", false),
    ("hl-train completions", "zsh", false),
    ("hl-train man", "", false),
    ("hl-export", "--task atis --run runs/done --no-verify --quiet --force", true),
    ("hl-export inspect", "atis.onnx --quiet", true),
    ("hl-export completions", "bash", false),
    ("hl-export man", "", false),
    ("hl-run", "--model atis.onnx --backend tract --quiet flights", true),
    ("hl-run verify", "atis.onnx --quiet", true),
    ("hl-run doctor", "--quiet", true),
    ("hl-run completions", "fish", false),
    ("hl-run man", "", false),
    ("hl-serve", "--check atis.onnx --backend tract --quiet", true),
    ("hl-serve openapi", "", false),
    ("hl-serve completions", "bash", false),
    ("hl-serve man", "", false),
];

/// A folder with a configuration, a comparison, a run and an exported file.
fn place() -> Workplace {
    let place = Workplace::new();
    place.write("train.toml", tiny_config());
    place.write("corpus.conll", "a O\nb B-x\n\n".repeat(20));
    let base = tiny_config().replace("[method]\nreduction_factor = 8\n\n", "");
    place.write("base.toml", base);
    place.write(
        "compare.toml",
        "base = \"base.toml\"\nmethods = [\"lora\"]\nfractions = [1.0]\nseeds = [1]\n",
    );
    let run = |program: &str, arguments: &str| {
        let output = start(&place, program, arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments}: {}", text(&output.stderr));
    };
    run("hl-train", "--config train.toml --name done --steps 2 --threads 1");
    run("hl-export", "--task atis --no-verify");
    place
}

/// A command with its arguments, not started yet.
fn start(place: &Workplace, command: &str, arguments: &str) -> Command {
    let mut words = command.split(' ');
    let mut command = Command::new(binaries().join(words.next().unwrap()));
    command.args(words).args(arguments.split_whitespace()).current_dir(place.path("."));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM", "CI"] {
        command.env_remove(name);
    }
    command.env("OMP_WAIT_POLICY", "passive").stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Stderr without warnings.
fn notes(output: &Output) -> String {
    let lines = text(&output.stderr);
    let warns = |line: &&str| line.starts_with("warning: ") || line.starts_with("hint: ");
    lines.lines().filter(|line| !warns(line)).map(|line| format!("{line}\n")).collect()
}

/// All commands, as their help texts list them.
fn commands() -> Vec<Name> {
    let place = Workplace::new();
    let mut found = Vec::new();
    for program in PROGRAMS {
        found.push((program, None));
        let help = text(&start(&place, program, "-h").output().unwrap().stdout);
        let listed = help.split_once("\nCommands:\n").unwrap().1.lines().take_while(|line| !line.is_empty());
        let names =
            listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').find(|word| !word.is_empty()));
        found.extend(names.map(|name| (program, Some(name.to_owned()))));
    }
    found
}

fn full_name((program, command): &Name) -> String {
    command.iter().fold((*program).to_owned(), |name, command| format!("{name} {command}"))
}

/// A pipe whose reader is gone.
fn closed_pipe() -> PipeWriter {
    pipe().unwrap().1
}

/// A device that is always full.
#[cfg(target_os = "linux")]
fn full_disk() -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()
}

fn into(mut command: Command, stdout: impl Into<Stdio>) -> Output {
    command.stdout(stdout).output().unwrap()
}

fn has_colors(bytes: &[u8]) -> bool {
    bytes.contains(&0x1b)
}

#[test]
fn every_command_has_a_call_in_the_table() {
    let commands: BTreeSet<String> = commands().iter().map(full_name).collect();
    let called: BTreeSet<String> = CALLS.iter().map(|(command, ..)| (*command).to_owned()).collect();
    assert_eq!(commands, called);
}

#[test]
fn data_survives_closed_pipes_and_full_disks_and_has_the_format_that_was_asked_for() {
    let place = place();
    for (command, arguments, records) in CALLS {
        let call = |more: &str| start(&place, command, &format!("{arguments} {more}"));

        let output = into(call(""), closed_pipe());
        assert_eq!((output.status.code(), notes(&output)), (Some(0), String::new()), "{command} | closed");

        #[cfg(target_os = "linux")]
        {
            let output = into(call(""), full_disk());
            let expected =
                "error: cannot write to stdout\n  caused by: No space left on device (os error 28)\n";
            assert_eq!(
                (output.status.code(), &*notes(&output)),
                (Some(1), expected),
                "{command} > /dev/full"
            );
        }

        for format in ["text", "json", "jsonl"].iter().filter(|_| records) {
            let output = call(&format!("--output-format {format}")).output().unwrap();
            let data = text(&output.stdout);
            assert!(
                output.status.success() && notes(&output).is_empty() && data.ends_with('\n'),
                "{command} {format}"
            );
            let parses = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
            match *format {
                "json" => assert!(parses(&data), "{command}: {data}"),
                "jsonl" => assert!(data.lines().all(parses), "{command}: {data}"),
                _ => assert!(!data.starts_with('{'), "{command}: {data}"),
            }
        }
    }
}

#[test]
fn help_survives_closed_pipes_and_full_disks() {
    let place = Workplace::new();
    for name in commands() {
        let command = full_name(&name);
        let help = || start(&place, &command, "--help");
        let output = help().output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{command}");
        let shown = text(&output.stdout);
        assert!(shown.contains(&format!("Usage: {command}")) && shown.contains("Examples:"), "{shown}");

        let output = into(help(), closed_pipe());
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{command}");

        #[cfg(target_os = "linux")]
        {
            let output = into(help(), full_disk());
            assert_eq!(output.status.code(), Some(1), "{command}");
            assert!(text(&output.stderr).starts_with("error: cannot write to stdout\n"), "{command}");
        }
    }
}

#[test]
fn every_option_with_a_value_tells_its_default() {
    let place = Workplace::new();
    for name in commands() {
        let command = full_name(&name);
        let help = text(&start(&place, &command, "--help").output().unwrap().stdout);
        let options = help.split_once("\nOptions:\n").unwrap().1.split("\n\nExamples:").next().unwrap();
        // An option starts at column 2 or, without a short form, at column 6.
        let starts =
            |line: &str| line.trim_start().starts_with('-') && line.len() - line.trim_start().len() <= 6;
        let mut described: Vec<String> = Vec::new();
        for line in options.lines() {
            match described.last_mut() {
                Some(last) if !starts(line) => *last = format!("{last} {}", line.trim()),
                _ => described.push(line.trim().to_owned()),
            }
        }
        for option in described {
            // A flag takes no value and is off by default; these have no default.
            let named = [
                "--model ",
                "--task ",
                "--bundle ",
                "--multi ",
                "--web ",
                "--gold ",
                "--compare ",
                "--max-error ",
                "--max-span-error ",
                "--ready ",
            ];
            let exempt = !option.contains('<') || named.iter().any(|name| option.starts_with(name));
            assert!(exempt || option.contains("[default: "), "{command}: {option}");
        }
    }
}

#[test]
fn an_unknown_option_is_the_users_error() {
    let place = Workplace::new();
    for name in commands() {
        let command = full_name(&name);
        let output = start(&place, &command, "--no-such-option").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(output.stdout.is_empty(), "{command}");
        let message = text(&output.stderr);
        assert!(message.starts_with("error: unexpected argument '--no-such-option' found\n"), "{message}");
        assert!(message.contains(&format!("Usage: {}", name.0)), "{message}");
    }
}

/// Environment variables, the option, colors in a pipe, colors on a terminal.
type ColorCase<'a> = (&'a [(&'a str, &'a str)], &'a str, bool, bool);

#[test]
fn colors_follow_the_option_then_the_environment_then_the_terminal() {
    let place = Workplace::new();
    let cases: [ColorCase<'_>; 10] = [
        (&[("TERM", "xterm")], "", false, true),
        (&[("TERM", "dumb")], "", false, false),
        (&[("TERM", "dumb"), ("CI", "true")], "", false, true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], "", false, false),
        (&[("TERM", "xterm"), ("CLICOLOR", "0")], "", false, false),
        (&[("CLICOLOR_FORCE", "1")], "", true, true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], "", false, false),
        (&[("CLICOLOR_FORCE", "1")], "--color never", false, false),
        (&[("TERM", "dumb"), ("NO_COLOR", "1")], "--color always", true, true),
        (&[("TERM", "xterm")], "--color auto", false, true),
    ];
    for name in commands() {
        let command = full_name(&name);
        // The front end is the same for all commands of a program: those two show that it is used.
        let cases = if name.1.is_none() { &cases[..] } else { &cases[5..7] };
        for &(variables, option, in_pipe, on_terminal) in cases {
            let case = format!("{command} {option} with {variables:?}");
            for (arguments, is_help) in [("--help", true), ("--no-such-option", false)] {
                let mut call = start(&place, &command, &format!("{option} {arguments}"));
                call.envs(variables.iter().copied());
                let output = call.output().unwrap();
                let shown = if is_help { output.stdout } else { output.stderr };
                assert_eq!(has_colors(&shown), in_pipe, "{case} {arguments}, in a pipe");
            }
            let mut call = start(&place, &command, &format!("{option} --help"));
            call.envs(variables.iter().copied());
            assert_eq!(has_colors(&terminal::output(&mut call)), on_terminal, "{case}, on a terminal");
        }
    }
}

#[test]
fn an_error_of_a_command_has_colors_only_where_they_are_wanted() {
    let place = Workplace::new();
    for (command, arguments) in [
        ("hl-train", "--config none.toml"),
        ("hl-train report", "none"),
        ("hl-export", "--task none"),
        ("hl-run", "--model none.onnx text"),
        ("hl-serve", "none.onnx --bind 127.0.0.1:0 --quiet"),
    ] {
        let plain = start(&place, command, arguments).output().unwrap();
        assert_eq!(plain.status.code(), Some(1));
        assert!(text(&plain.stderr).starts_with("error: "), "{command}: {}", text(&plain.stderr));
        let colored = start(&place, command, &format!("{arguments} --color always")).output().unwrap();
        assert!(text(&colored.stderr).starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m "), "{command}");
    }
}

#[test]
fn every_program_has_completions_of_all_its_commands_for_every_shell() {
    let place = Workplace::new();
    let commands = commands();
    for program in PROGRAMS {
        for shell in SHELLS {
            let output = start(&place, program, &format!("completions {shell}")).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{program} {shell}");
            let script = text(&output.stdout);
            assert!(script.contains("output-format") && script.contains("color"), "{program} {shell}");
            for (_, command) in commands.iter().filter(|(name, _)| *name == program) {
                assert!(
                    command.iter().all(|command| script.contains(command)),
                    "{program} {shell} {command:?}"
                );
            }
        }
        let unknown = start(&place, program, "completions tcsh").output().unwrap();
        assert_eq!(unknown.status.code(), Some(1), "{program}");
    }
}

#[test]
fn every_command_has_a_man_page() {
    let place = Workplace::new();
    for (program, command) in commands() {
        let output =
            start(&place, program, &format!("man {}", command.as_deref().unwrap_or(""))).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{program} {command:?}");
        let page = text(&output.stdout);
        let title = command.iter().fold(program.to_owned(), |title, command| format!("{title}-{command}"));
        assert!(page.contains(&format!(".TH {title} 1 ")), "{page}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS"] {
            assert!(page.contains(&format!(".SH {section}\n")), "{program} {command:?}: {section}");
        }
    }
    let unknown = start(&place, "hl-run", "man doctro").output().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).starts_with("error: `hl-run` has no command `doctro`\nhint: "));
}

#[test]
fn a_word_is_a_command_only_if_it_comes_first() {
    let place = Workplace::new();
    let output = start(&place, "hl-run", "--model none.onnx man").output().unwrap();
    assert!(
        text(&output.stderr).starts_with("error: cannot read model `none.onnx`\n"),
        "{}",
        text(&output.stderr)
    );
    let output = start(&place, "hl-train", "--steps 3 params").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_progress_bar_is_for_terminals_and_not_for_quiet_calls() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    let log = |more: &str| {
        let mut call = start(&place, "hl-train", &format!("--steps 2 --threads 1 {more}"));
        text(&terminal::output(call.env("TERM", "xterm")))
    };
    assert!(log("").contains(" 2/2 "), "a bar with its count");
    let quiet = log("--quiet");
    assert!(!quiet.contains("2/2") && quiet.contains("best checkpoint at step"), "{quiet}");
    assert!(!log("--no-progress").contains("2/2"));
}

#[test]
fn curves_are_drawn_on_a_terminal_of_any_size() {
    let place = Workplace::new();
    place.write("hyperloader.toml", tiny_config());
    assert!(start(&place, "hl-train", "--steps 2 --threads 1 --name run").output().unwrap().status.success());
    for size in ["rows 24 cols 80", "rows 1 cols 1", "rows 0 cols 0"] {
        let mut call = Command::new("sh");
        let program = binaries().join("hl-train");
        let script = format!("stty {size} <&1; {} watch runs/run; echo code $?", program.display());
        call.args(["-c", &script]).current_dir(place.path(".")).stdin(Stdio::null());
        let shown = text(&terminal::output(&mut call));
        assert!(shown.contains("step 2 of 2") && shown.trim_end().ends_with("code 0"), "{size}: {shown}");
    }
}
