//! Runs a page's marked blocks in order, in one folder.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use hyperloader_tests::{Workplace, binaries, root};

use crate::expected::matches;
use crate::page::{Block, Page};

/// What a page's marked blocks did.
pub(crate) struct Session {
    /// Commands that ran.
    pub(crate) commands: usize,
    /// What was not as the page says.
    pub(crate) problems: Vec<String>,
}

impl Session {
    /// Runs the page in a new folder that holds `fixtures/` and `hyperloader.toml`, like the root of a clone.
    pub(crate) fn run(page: &Page) -> Self {
        let mut session = Self { commands: 0, problems: vec![] };
        if !page.blocks.iter().any(|block| block.has("test")) {
            return session;
        }
        let place = Workplace::new();
        for name in ["fixtures", "docs", "hyperloader.toml"] {
            symlink(root().join(name), place.path(name)).unwrap();
        }
        let mut last: Option<(&Block, Output)> = None;
        for block in &page.blocks {
            if let Some(name) = block.value("file") {
                place.write(name, &block.text);
            } else if block.has("test") {
                let output = shell(&place, &block.text);
                session.commands += commands(&block.text);
                let wanted = block.value("fails").map_or(0, |code| code.parse().unwrap());
                if output.status.code() != Some(wanted) {
                    let (code, stderr) = (output.status, String::from_utf8_lossy(&output.stderr));
                    session.problem(page, block, &format!("ended with {code}, not {wanted}:\n{stderr}"));
                }
                last = Some((block, output));
            } else if let Some((command, output)) = &last {
                for (mark, printed) in [("output", &output.stdout), ("stderr", &output.stderr)] {
                    let printed = String::from_utf8_lossy(printed);
                    if block.has(mark) && !matches(&block.text, &printed) {
                        session.problem(page, command, &format!("printed on {mark}:\n{printed}"));
                    }
                }
            }
        }
        session
    }

    fn problem(&mut self, page: &Page, block: &Block, what: &str) {
        self.problems.push(format!("{}:{}\n{}{what}", page.name(), block.line, block.text));
    }
}

/// Runs lines as a shell script that ends at the first command that fails.
fn shell(place: &Workplace, script: &str) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(place.path(""))
        .env("PATH", format!("{}:{path}", binaries().display()))
        // Threads that spin while they wait for each other are very slow where tests share few cores.
        .env("OMP_WAIT_POLICY", "passive")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

/// Lines that begin a command: neither blank, nor a comment, nor the rest of the line before.
fn commands(script: &str) -> usize {
    let mut continued = false;
    let begins = |line: &&str| {
        let begins = !continued && !line.trim().is_empty() && !line.trim_start().starts_with('#');
        continued = line.ends_with('\\');
        begins
    };
    script.lines().filter(begins).count()
}

#[test]
fn comments_blank_lines_and_continued_lines_are_no_commands() {
    assert_eq!(commands("# first\nls\n\nls \\\n  -l\nls"), 3);
}
