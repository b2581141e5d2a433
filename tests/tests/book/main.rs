//! The book in `docs/`: its marked commands are run with the real programs, and its links lead somewhere.
//!
//! - [`page`]: a page's code blocks, links and headings
//! - [`session`]: runs a page's marked blocks in order, in one folder
//! - [`expected`]: compares printed text with what the page shows
//!
//! How a page marks its blocks is described in `CONTRIBUTING.md`, "Commands in the book".
#![allow(clippy::unwrap_used)] // A test that cannot go on should fail.

mod expected;
mod page;
mod session;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hyperloader_tests::root;

use crate::page::Page;
use crate::session::Session;

/// The README and every page of the book.
fn pages() -> Vec<Page> {
    let mut files = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    files.extend(markdown(&root().join("docs")));
    files.iter().map(|file| Page::read(file)).collect()
}

/// All Markdown files below `folder`, sorted.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(markdown(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every page is a session of its own. Pages run one after the other: their programs use all cores.
#[test]
fn the_commands_of_the_book_do_what_it_says() {
    let (mut commands, mut problems) = (0, Vec::new());
    for page in pages() {
        let began = Instant::now();
        let session = Session::run(&page);
        if session.commands > 0 {
            println!("{}: {} commands in {:.1?}", page.name(), session.commands, began.elapsed());
        }
        commands += session.commands;
        problems.extend(session.problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(commands >= 25, "the book marks {commands} commands only");
    println!("{commands} commands of the book ran");
}

#[test]
fn every_page_is_in_the_summary_once() {
    let summary = root().join("docs/SUMMARY.md");
    let listed: Vec<PathBuf> =
        Page::read(&summary).links.iter().map(|link| summary.with_file_name(link)).collect();
    let unique: BTreeSet<&PathBuf> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice");
    for file in markdown(&root().join("docs")) {
        assert!(file == summary || unique.contains(&file), "SUMMARY.md does not list `{}`", file.display());
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.file.clone(),
                file => page.file.with_file_name(file),
            };
            let leads = target.exists()
                && (anchor.is_empty() || Page::read(&target).anchors.iter().any(|a| a == anchor));
            if !leads {
                broken.push(format!("{}: `{link}`", page.name()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_path_of_the_repository_that_a_page_names_exists() {
    let mut missing = Vec::new();
    for page in pages() {
        let absent = page.paths.iter().filter(|path| !root().join(path).exists());
        missing.extend(absent.map(|path| format!("{}: `{path}`", page.name())));
    }
    assert!(missing.is_empty(), "paths that do not exist:\n{}", missing.join("\n"));
}
