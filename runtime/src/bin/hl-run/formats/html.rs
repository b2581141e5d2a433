//! One web page with all texts and their spans. It needs no other file, no network and no script.

use std::cell::Cell;

use anyhow::Result;
use hyperloader_core::evaluate::html::{Document, document};
use hyperloader_runtime::TaggerMetadata;
use maud::html;

use super::marks::pieces;
use super::writer::Writer;
use crate::entry::Entry;

/// Writes the page.
pub(super) struct Html {
    task: String,
    labels: Vec<String>,
    records: Cell<usize>,
    spans: Cell<usize>,
    errors: Cell<usize>,
}

/// Colors of labels differ in hue; light and dark pages have their own lightness.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c1c1c; --page: #fff; --line: #ddd; --pale: 86%; --error: #b00020; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --page: #181818; --line: #3a3a3a; --pale: 26%; --error: #ff8a80; }
}
body { font: 16px/1.7 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } nav { line-height: 2.2; } ol { padding-left: 3.5rem; }
li { border-bottom: 1px solid var(--line); padding: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
mark { color: inherit; background: hsl(var(--hue) 70% var(--pale)); border-radius: .3rem; padding: .1rem .3rem; }
mark small { font-size: .7em; font-weight: 600; margin-inline-start: .4em; white-space: nowrap; }
.error { color: var(--error); } footer { margin: 1rem 0; }
";

impl Html {
    pub(super) fn new(tagger: &TaggerMetadata) -> Self {
        Self {
            task: tagger.task.clone(),
            labels: tagger.labels.clone(),
            records: Cell::new(0),
            spans: Cell::new(0),
            errors: Cell::new(0),
        }
    }

    fn title(&self) -> String {
        format!("Spans of {}", self.task)
    }

    fn document(&self) -> Document {
        document(&self.title(), "und", STYLE)
    }

    /// A hue of its own for each label: the golden angle keeps neighbors apart.
    fn style(&self, label: &str) -> String {
        let place = self.labels.iter().position(|known| known == label).unwrap_or(self.labels.len());
        format!("--hue:{}", (place * 137 + 100) % 360)
    }
}

fn count(cell: &Cell<usize>, more: usize) {
    cell.set(cell.get() + more);
}

impl Writer for Html {
    fn begin(&self) -> String {
        let legend = html! {
            h1 { (self.title()) }
            nav aria-label="Labels" {
                @for label in &self.labels { mark style=(self.style(label)) { (label) } " " }
            }
        };
        format!("{}{}\n<ol>\n", self.document().begin, legend.into_string())
    }

    fn record(&mut self, entry: &Entry) -> Result<String> {
        count(&self.records, 1);
        let item = match &entry.result {
            Ok(tagged) => {
                count(&self.spans, tagged.spans.len());
                html! {
                    li dir="auto" {
                        @for (text, span) in pieces(tagged) {
                            @match span {
                                Some(span) => mark style=(self.style(&span.label)) {
                                    (text) small { (span.label) }
                                },
                                None => (text),
                            }
                        }
                    }
                }
            }
            Err(failure) => {
                count(&self.errors, 1);
                html! {
                    li dir="auto" {
                        @if let Some(text) = &entry.text { (text) " " }
                        span.error { "error: " (entry.place) ": " (failure.message) }
                    }
                }
            }
        };
        Ok(format!("{}\n", visible(&item.into_string())))
    }

    fn end(&self) -> String {
        let [records, spans, errors] = [&self.records, &self.spans, &self.errors].map(Cell::get);
        let footer = html! { footer { (records) " records, " (spans) " spans, " (errors) " errors" } };
        format!("</ol>\n{}{}", footer.into_string(), self.document().end)
    }
}

/// Control characters, which HTML does not have, as their pictures.
fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        other => other,
    };
    text.chars().map(picture).collect()
}

#[cfg(test)]
mod tests {
    use super::super::examples::{entries, entry, tagged};
    use super::*;

    fn page(entries: &[Entry]) -> String {
        let cell = || Cell::new(0);
        let labels = vec!["date_time".to_owned(), "name".to_owned()];
        let mut html = Html { task: "a & b".into(), labels, records: cell(), spans: cell(), errors: cell() };
        let records: String = entries.iter().map(|entry| html.record(entry).unwrap()).collect();
        format!("{}{records}{}", html.begin(), html.end())
    }

    #[test]
    fn texts_are_escaped_and_spans_are_marked() {
        let page = page(&entries());
        let body = page.split_once("<body>").unwrap().1;
        insta::assert_snapshot!(body, @r#"
        <h1>Spans of a &amp; b</h1><nav aria-label="Labels"><mark style="--hue:100">date_time</mark> <mark style="--hue:237">name</mark> </nav>
        <ol>
        <li dir="auto">set a <mark style="--hue:237">&quot;café&quot;<small>name</small></mark> alarm for <mark style="--hue:100">7 am<small>date_time</small></mark></li>
        <li dir="auto">😀 a <mark style="--hue:14">&lt;b&gt;<small>x/y</small></mark> &amp; &quot;c&quot;</li>
        <li dir="auto"></li>
        <li dir="auto">bad
        line <span class="error">error: argument 4: the line	is bad</span></li>
        </ol>
        <footer>4 records, 3 spans, 1 errors</footer>
        </body>
        </html>
        "#);
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let odd = tagged("\u{0}\u{1b}[31m\u{85}\u{9c}x <script>", &["O", "O"], &[]);
        let mut entries = entries();
        entries.push(entry(5, Ok(odd)));
        let page = page(&entries);
        for bad in ["<script", "http:", "https:", "src=", "href=", "\u{0}", "\u{1b}"] {
            assert!(!page.contains(bad), "{bad}");
        }
        let mut open = vec![];
        for tag in page.split('<').skip(2).filter_map(|part| part.split_once('>')).map(|(tag, _)| tag) {
            let name = tag.split([' ', '>']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if name != "meta" => open.push(name),
                None => {}
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
