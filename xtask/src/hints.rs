//! `cargo xtask hints`: lists every message with a `hint:` line in `docs/troubleshooting.md`.
//!
//! The messages are the string literals of the sources, so the page cannot differ from the programs. A test compares.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::LitStr;

use crate::commands::root;

const PAGE: &str = "docs/troubleshooting.md";
const BEGIN: &str = "<!-- Written by `cargo xtask hints`: do not edit below. -->\n";
const HINT: &str = "hint: ";

/// Headings of the page in their order, with the folders and files whose messages they list; the first match counts.
const SECTIONS: [(&str, &[&str]); 10] = [
    ("Installation", &["xtask/"]),
    ("Configurations", &["trainer/src/config", "core/src/method"]),
    ("Corpora and labels", &["core/src/corpus", "core/src/text", "trainer/src/corpora"]),
    ("Models of the Hugging Face hub", &["trainer/src/hub"]),
    ("Backbones and checkpoints", &["core/src/backbone", "core/src/weights"]),
    ("Comparisons", &["trainer/src/compare", "trainer/src/cli/compare"]),
    ("Runs and training", &["core/src/run", "trainer/"]),
    ("Exporting", &["exporter/", "onnx/"]),
    ("Running", &["runtime/", "cli/", "core/"]),
    ("Serving", &["server/"]),
];

/// A message and its hint, with placeholders in place of values.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    text: String,
    hint: String,
}

/// Rewrites the page.
pub(crate) fn run() -> Result<()> {
    let (written, current) = page()?;
    fs::write(root().join(PAGE), &current)?;
    eprintln!("`{PAGE}` {}", if written == current { "is up to date" } else { "is rewritten" });
    Ok(())
}

/// The page as it is, and as it should be.
fn page() -> Result<(String, String)> {
    let written = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
    let kept = written.find(BEGIN).with_context(|| format!("`{PAGE}` lacks the line `{}`", BEGIN.trim()))?;
    let current = format!("{}{}", &written[..kept + BEGIN.len()], sections()?);
    Ok((written, current))
}

/// All sections with their tables.
fn sections() -> Result<String> {
    let mut found: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
    for folder in ["cli", "core", "onnx", "trainer", "exporter", "runtime", "server", "xtask"] {
        for file in sources(&root().join(folder).join("src"))? {
            let name = file.strip_prefix(root())?.to_string_lossy().into_owned();
            let section = SECTIONS
                .iter()
                .position(|(_, places)| places.iter().any(|place| name.starts_with(place)))
                .with_context(|| format!("`{name}` belongs to no section of `{PAGE}`"))?;
            let text = fs::read_to_string(&file).with_context(|| name.clone())?;
            let messages = messages(&text).with_context(|| name.clone())?;
            found.entry(section).or_default().extend(messages);
        }
    }
    let mut page = String::new();
    for (section, mut messages) in found {
        messages.sort();
        messages.dedup();
        if messages.is_empty() {
            continue;
        }
        page.push_str(&format!("\n## {}\n\n| message | hint |\n|---|---|\n", SECTIONS[section].0));
        for Message { text, hint } in messages {
            page.push_str(&format!("| {} | {} |\n", cell(&text), cell(&hint)));
        }
    }
    Ok(page)
}

/// All Rust files below `folder` that are not tests.
fn sources(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(files) };
    for entry in entries {
        let path = entry?.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The messages with a hint among the string literals of a source, those of its tests left out.
fn messages(source: &str) -> Result<Vec<Message>> {
    let source = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    let tokens: TokenStream = source.parse().map_err(|e| anyhow::anyhow!("not Rust: {e}"))?;
    let mut messages = Vec::new();
    collect(tokens, &mut messages);
    Ok(messages)
}

fn collect(tokens: TokenStream, messages: &mut Vec<Message>) {
    let mut doc = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect(group.stream(), messages),
            // `#[doc = "..."]` is how the parser gives a doc comment.
            TokenTree::Ident(word) => doc = word == "doc",
            TokenTree::Literal(literal) if !doc => {
                if let Ok(text) = syn::parse_str::<LitStr>(&literal.to_string()) {
                    messages.extend(message(&text.value()));
                }
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// The message that a literal is, if text and hint have words of their own: nobody finds a row of placeholders.
fn message(literal: &str) -> Option<Message> {
    let (text, hint) =
        literal.split_once(HINT).filter(|(text, _)| text.is_empty() || text.ends_with('\n'))?;
    let (text, hint) = (placeholders(beginning(text.trim())), placeholders(hint.trim()));
    // Placeholders are in capitals.
    let has_words = |text: &str| text.chars().any(char::is_lowercase);
    (has_words(&text) && has_words(&hint)).then_some(Message { text, hint })
}

/// A message from its first own word or quote on: without a placeholder that runs into a word, and without punctuation.
fn beginning(text: &str) -> &str {
    let glued = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let glued = glued.filter(|(_, rest)| rest.starts_with(char::is_lowercase)).map(|(_, rest)| rest);
    glued.unwrap_or(text).trim_start_matches([':', ',', ' '])
}

/// `{name}` as `NAME`, other placeholders as `...`, and `{{` as `{`.
fn placeholders(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        result.push_str(&rest[..at]);
        let doubled = rest[at..].starts_with("{{") || rest[at..].starts_with("}}");
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
        if doubled {
            result.push_str(&rest[at..at + 1]);
            rest = &rest[at + 2..];
            continue;
        }
        let name = rest[at..end].trim_matches(['{', '}']).split(':').next().unwrap_or_default();
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        result.push_str(&if named { name.to_uppercase() } else { "...".to_owned() });
        rest = &rest[end..];
    }
    result + rest
}

/// Text as a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_literals_with_a_hint_and_without_their_values() {
        let source = r#"
            /// A doc comment with "hint: nothing".
            #[error("run `{path}` exists, {0:?}\nhint: choose another `--name`, or `{{ name = 1 }}`")]
            struct A;
            const B: &str = "hint: ";
            fn c() { bail!("no\n{}\nhint: fetch `{TOKENIZER}`") }
            fn d() { bail!("{}\nhint: nothing to search for"); bail!("no words\nhint: {hint}") }
            fn e() { warn!("{by}the tagger has no label\nhint: rename"); push(": {n} are long\nhint: cut") }
#[cfg(test)] mod tests { const D: &str = "x\nhint: not this"; }
        "#;
        let found: Vec<(String, String)> =
            messages(source).unwrap().into_iter().map(|m| (m.text, m.hint)).collect();
        assert_eq!(
            found,
            [
                ("run `PATH` exists, ...".into(), "choose another `--name`, or `{ name = 1 }`".to_owned()),
                ("no\n...".into(), "fetch `...`".to_owned()),
                ("the tagger has no label".into(), "rename".to_owned()),
                ("N are long".into(), "cut".to_owned()),
            ]
        );
    }

    #[test]
    fn the_troubleshooting_page_lists_every_hint() {
        let (written, current) = page().unwrap();
        assert!(written == current, "`{PAGE}` lacks messages with a hint: run `cargo xtask hints`");
    }
}
