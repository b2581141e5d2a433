//! How an error, its causes and its hints are printed.
//!
//! ```text
//! error: cannot read model `mtop.onnx`
//!   caused by: No such file or directory (os error 2)
//! hint: `hl-export --task mtop` writes one
//! ```
//!
//! A message may end with lines that start with `hint: `. The hints of all causes come last.

use std::error::Error;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();
const CAUSE: Style = Style::new().bold();

/// Lines that start with this give advice.
const HINT_PREFIX: &str = "hint: ";

/// `error: ...`, the causes and the hints, with colors, ending in a line feed. `place` is where the error occurred, such
/// as `<stdin>:7`; it comes before the message.
pub(crate) fn error(place: Option<&str>, error: &(dyn Error + 'static)) -> String {
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    report(("error", ERROR), &format!("{place}{error}"), &causes)
}

/// `warning: ...` and the hints, as [`error()`].
pub(crate) fn warning(message: &str) -> String {
    report(("warning", WARNING), message, &[])
}

/// A message without a heading; its hints have the same style as those of errors.
pub(crate) fn note(message: &str) -> String {
    let (mut text, hints) = split_hints(message);
    text.push('\n');
    push_hints(&mut text, &hints);
    text
}

fn report((heading, style): (&str, Style), message: &str, causes: &[String]) -> String {
    let (body, mut hints) = split_hints(message);
    let mut text = format!("{style}{heading}:{style:#} {body}\n");
    for cause in causes {
        let (body, more) = split_hints(cause);
        let body = body.replace('\n', "\n    ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {CAUSE}caused by:{CAUSE:#} {body}");
        hints.extend(more.into_iter().filter(|hint| !hints.contains(hint)).collect::<Vec<_>>());
    }
    push_hints(&mut text, &hints);
    text
}

/// The lines of `message` that are no hints, and those that are, without their prefix.
fn split_hints(message: &str) -> (String, Vec<&str>) {
    let (hints, body): (Vec<&str>, Vec<&str>) =
        message.trim_end().lines().partition(|line| line.starts_with(HINT_PREFIX));
    let hints = hints.into_iter().filter_map(|hint| hint.strip_prefix(HINT_PREFIX)).collect();
    (body.join("\n"), hints)
}

fn push_hints(text: &mut String, hints: &[&str]) {
    for hint in hints {
        let _ = writeln!(text, "{HINT}hint:{HINT:#} {hint}");
    }
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open tagger `a.onnx`\nhint: export it again")]
    struct Open(#[source] Read);

    #[derive(Debug, thiserror::Error)]
    #[error("graph `decoder` is damaged\nat node 3\nhint: copy the file again\nhint: export it again")]
    struct Read(#[source] std::io::Error);

    fn damaged() -> Open {
        Open(Read(std::io::Error::other("unexpected end of file")))
    }

    #[test]
    fn causes_are_printed_once_and_hints_come_last() {
        insta::assert_snapshot!(strip_str(&error(None, &damaged())).to_string(), @r"
        error: cannot open tagger `a.onnx`
          caused by: graph `decoder` is damaged
            at node 3
          caused by: unexpected end of file
        hint: export it again
        hint: copy the file again
        ");
    }

    #[test]
    fn the_place_of_an_error_comes_before_its_message() {
        let text = error(Some("<stdin>:3"), &std::io::Error::other("too long\nhint: cut it"));
        assert_eq!(strip_str(&text).to_string(), "error: <stdin>:3: too long\nhint: cut it\n");
    }

    #[test]
    fn headings_have_colors_and_messages_have_none() {
        assert!(error(None, &damaged()).starts_with("\u{1b}[1m\u{1b}[31merror:\u{1b}[0m cannot open"));
        assert_eq!(strip_str(&warning("odd\nhint: look")).to_string(), "warning: odd\nhint: look\n");
        assert_eq!(note("step 3"), "step 3\n");
    }
}
