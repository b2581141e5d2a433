//! Citations of `docs/reference` and links between Markdown files lead to a file and a heading that exist.
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{Event, Options, Parser, Tag};

/// What a citation begins with. It is a path from the root of the repository.
const REFERENCE: &str = "docs/reference/";

/// Stands for any page where a text explains how to cite.
const PLACEHOLDER: &str = "docs/reference/FILE.md";

/// Files that citations are looked for in.
const EXTENSIONS: [&str; 5] = ["rs", "py", "toml", "md", "sh"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// This file: its examples are wrong on purpose.
const THIS: &str = "xtask/tests/citations.rs";

/// Path from the root and content of every file of the repository with one of [`EXTENSIONS`], new files included.
fn sources() -> Vec<(PathBuf, String)> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(root()).args(arguments).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let known = |path: &PathBuf| path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e == *known));
    let paths = names.split_terminator('\0').filter(|name| *name != THIS).map(PathBuf::from).filter(known);
    // A file that was removed and is still in the index has no content.
    paths.filter_map(|path| Some((path.clone(), std::fs::read_to_string(root().join(path)).ok()?))).collect()
}

/// Lines of a Markdown text outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// Anchors of the headings of a Markdown text, as both GitHub and mdBook make them: lower case, white space as
/// hyphens, other punctuation left out. A repeated heading gets a number.
fn anchors(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        });
        let anchor: String = kept.collect();
        let mut free = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
        let anchor = free.find(|name| !found.contains(name));
        found.extend(anchor);
    }
    found
}

/// Citations in a text: `docs/reference/FILE.md`, with `#anchor` if there is one.
fn citations(text: &str) -> Vec<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_./#".contains(c);
    let ends = text.match_indices(REFERENCE).map(|(start, _)| {
        let rest = &text[start..];
        &rest[..rest.find(|c| !part(c)).unwrap_or(rest.len())]
    });
    ends.map(|citation| citation.trim_end_matches('.')).filter(|citation| citation.contains(".md")).collect()
}

/// Targets of the Markdown links in a text that are files or anchors of the repository.
fn links(text: &str) -> Vec<String> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            Some(dest_url.into_string())
        }
        _ => None,
    };
    let is_local = |target: &String| !target.contains("://") && !target.starts_with("mailto:");
    Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(target).filter(is_local).collect()
}

/// Citations by number of a document that is not in the repository, as `reference section 3.2`, or in a name
/// `reference_section_3_2`. Comment markers and line breaks between the words do not matter.
fn numbered_citations(text: &str) -> Vec<String> {
    let marker = |word: &&str| ["//", "///", "//!", "#"].contains(word);
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c == '_').filter(|word| !marker(word)).collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let cites = |three: &&[&str]| {
        let ends_with_reference = bare(three[0]).ends_with("reference");
        let section = ["section", "sections"].contains(&bare(three[1]).as_str());
        ends_with_reference && section && three[2].starts_with(|c: char| c.is_ascii_digit())
    };
    words.windows(3).filter(cites).map(|three| three.join(" ")).collect()
}

/// `path` without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Why `target`, a path from the root with or without an anchor, leads nowhere.
fn fault(target: &str) -> Option<String> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = root().join(file);
    if !path.exists() {
        return Some(format!("`{file}` does not exist"));
    }
    let anchor = anchor?;
    let headings = anchors(&std::fs::read_to_string(path).ok()?);
    (!headings.contains(anchor)).then(|| format!("`{file}` has no heading with the anchor `{anchor}`"))
}

#[test]
fn every_citation_of_the_reference_leads_to_a_heading() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (path, text) in sources() {
        for citation in citations(&text).into_iter().filter(|citation| !citation.starts_with(PLACEHOLDER)) {
            seen += 1;
            faults.extend(fault(citation).map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    assert!(seen > 0, "no citation was found at all");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_link_between_markdown_files_leads_to_a_heading() {
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (path, text) in sources().into_iter().filter(|(path, _)| path.extension().unwrap() == "md") {
        for link in links(&text) {
            seen += 1;
            let target = match link.starts_with('#') {
                true => format!("{}{link}", path.display()),
                false => normalized(&path.parent().unwrap().join(&link)).display().to_string(),
            };
            faults.extend(fault(&target).map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    assert!(seen > 0, "no link was found at all");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_cites_a_numbered_section_of_the_reference() {
    // The style guide and its counter name the phrase.
    let exempt = [Path::new("docs/style.md"), Path::new("docs/idioms.sh")];
    let faults: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !exempt.contains(&path.as_path()))
        .flat_map(|(path, text)| {
            numbered_citations(text).into_iter().map(move |c| format!("{}: {c}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn numbered_citations_are_found_across_lines_and_in_names() {
    for text in [
        "/// The loss (reference section 3.2).",
        "//! (Mao et al. 2022; reference\n//! section 5.4)",
        "/// Reference sections 2.1 and 5.4",
        "fn counts_are_those_of_reference_section_2_1()",
    ] {
        assert_eq!(numbered_citations(text).len(), 1, "{text}");
    }
    assert_eq!(
        numbered_citations("(Raffel et al. 2020, section 2.1); the reference has no section 2"),
        [""; 0]
    );
}

#[test]
fn a_wrong_citation_is_found() {
    let text =
        "See docs/reference/training.md#loss, docs/reference/training.md#gain. And `docs/reference/none.md`.";
    let faults: Vec<_> = citations(text).into_iter().map(fault).collect();
    assert_eq!(
        faults,
        [
            None,
            Some("`docs/reference/training.md` has no heading with the anchor `gain`".to_owned()),
            Some("`docs/reference/none.md` does not exist".to_owned()),
        ]
    );
}

#[test]
fn anchors_are_those_of_github_and_mdbook() {
    let text = "# SentT'\n## Cross-attention bias\n## T5 (small)\n```\n# no heading\n```\n## SentT'\n";
    let expected = ["sentt", "cross-attention-bias", "t5-small", "sentt-1"].map(str::to_owned);
    assert_eq!(anchors(text), HashSet::from(expected));
}
