//! Comparing printed text with what a page shows.
//!
//! A page leaves out what differs from run to run: `[..]` in a line stands for any text, a line `...` for any lines.

const ANY_TEXT: &str = "[..]";
const ANY_LINES: &str = "...";

/// Whether `found` is what `shown` describes. White space at the ends of lines and of the text does not count.
pub(crate) fn matches(shown: &str, found: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    lines_match(&lines(shown), &lines(found))
}

fn lines_match(shown: &[String], found: &[String]) -> bool {
    match shown.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == ANY_LINES => (0..=found.len()).any(|n| lines_match(rest, &found[n..])),
        Some((line, rest)) => {
            found.first().is_some_and(|f| line_matches(line, f)) && lines_match(rest, &found[1..])
        }
    }
}

fn line_matches(shown: &str, found: &str) -> bool {
    match shown.split_once(ANY_TEXT) {
        None => shown == found,
        Some((start, rest)) => found.strip_prefix(start).is_some_and(|found| {
            let ends = found.char_indices().map(|(at, _)| at).chain([found.len()]);
            ends.into_iter().any(|at| line_matches(rest, &found[at..]))
        }),
    }
}

#[test]
fn wildcards_stand_for_any_text_and_any_lines() {
    for (shown, found, expected) in [
        ("a\nb\n", "a  \nb\n\n", true),
        ("a\nb", "a", false),
        ("a", "a\nb", false),
        ("took [..] s", "took 1.5 s", true),
        ("took [..] s", "took 1.5 min", false),
        ("[..]\u{e9}[..]", "caf\u{e9}s", true),
        ("a\n...\nz", "a\nb\nc\nz", true),
        ("a\n...", "a", true),
        ("...\nz", "a\nb", false),
    ] {
        assert_eq!(matches(shown, found), expected, "{shown:?} {found:?}");
    }
}
