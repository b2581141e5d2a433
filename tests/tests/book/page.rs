//! A page's code blocks, links and headings.

use std::path::{Path, PathBuf};

use hyperloader_tests::root;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A fenced code block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of the page where the text begins, counted from 1.
    pub(crate) line: usize,
    /// The words after the fence: the language, then marks such as `test` or `file=NAME`.
    pub(crate) marks: Vec<String>,
    /// The text inside, with its last line break.
    pub(crate) text: String,
}

impl Block {
    /// Whether the block carries `mark`.
    pub(crate) fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|m| m == mark)
    }

    /// `VALUE` of a mark `NAME=VALUE`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.marks.iter().find_map(|mark| mark.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A Markdown file.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) file: PathBuf,
    pub(crate) blocks: Vec<Block>,
    /// Targets of links and images, as written.
    pub(crate) links: Vec<String>,
    /// Anchors of the headings, as GitHub and mdBook make them.
    pub(crate) anchors: Vec<String>,
    /// Inline code that names a file or folder of the repository.
    pub(crate) paths: Vec<String>,
}

impl Page {
    pub(crate) fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("`{}`: {e}", file.display()));
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Self {
        let mut page =
            Self { file: file.to_owned(), blocks: vec![], links: vec![], anchors: vec![], paths: vec![] };
        let (mut block, mut heading) = (None, None);
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let marks = info.split_whitespace().map(str::to_owned).collect();
                    let line = text[..range.start].matches('\n').count() + 2;
                    block = Some(Block { line, marks, text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let same = page.anchors.iter().filter(|a| without_number(a) == anchor).count();
                    page.anchors.push(if same == 0 { anchor } else { format!("{anchor}-{same}") });
                }
                Event::Text(text) => append(&mut block, &mut heading, &text),
                Event::Code(code) => {
                    if is_path(&code) {
                        page.paths.push(code.to_string());
                    }
                    append(&mut block, &mut heading, &code);
                }
                _ => {}
            }
        }
        page
    }

    /// The path from the root of the clone.
    pub(crate) fn name(&self) -> String {
        self.file.strip_prefix(root()).unwrap_or(&self.file).display().to_string()
    }
}

/// Adds text to the block or heading that it is in.
fn append(block: &mut Option<Block>, heading: &mut Option<String>, text: &str) {
    if let Some(block) = block {
        block.text.push_str(text);
    } else if let Some(heading) = heading {
        heading.push_str(text);
    }
}

/// Lower case, spaces as hyphens, and only letters, digits, `-` and `_`.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Whether inline code is a path of the repository, such as `core/src/text/`, without a placeholder such as `NAME`.
fn is_path(code: &str) -> bool {
    const FOLDERS: [&str; 12] = [
        "bench", "cli", "core", "docs", "exporter", "fixtures", "onnx", "runtime", "server", "tests",
        "trainer", "web",
    ];
    let placeholder = |part: &str| part.len() > 1 && part.bytes().all(|b| b.is_ascii_uppercase());
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    code.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder))
        && code.chars().all(plain)
        && !code.split('/').any(placeholder)
}

/// An anchor without the number that tells it from an earlier, equal one.
fn without_number(anchor: &str) -> &str {
    match anchor.rsplit_once('-') {
        Some((stem, number)) if number.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => anchor,
    }
}

#[test]
fn a_page_has_blocks_with_marks_links_and_anchors() {
    let text = "# A `b` heading!\n\n[a](x.md#y) ![b](c.svg) `core/src/lib.rs` `core/src/NAME/` `runs/x`\n\n```sh test fails=1\nls\n```\n\n## Same\n\n## Same\n";
    let page = Page::parse(Path::new("page.md"), text);
    assert_eq!(page.links, ["x.md#y", "c.svg"]);
    assert_eq!(page.anchors, ["a-b-heading", "same", "same-1"]);
    assert_eq!(page.paths, ["core/src/lib.rs"]);
    let [block] = page.blocks.as_slice() else { panic!("{page:?}") };
    assert_eq!((block.line, block.text.as_str()), (6, "ls\n"));
    assert!(block.has("test") && !block.has("fails"));
    assert_eq!((block.value("fails"), block.value("file")), (Some("1"), None));
}
