//! One web page with all texts and their spans. It needs no other file, no network and no script.

use std::cell::Cell;

use anyhow::Result;
use hyperloader_core::evaluate::html::{Document, document};
use hyperloader_runtime::{Tagged, TaggerMetadata};
use maud::{Markup, html};

use super::marks::pieces;
use super::writer::Writer;
use crate::entry::Entry;

/// Writes the page.
pub(super) struct Html {
    /// Task and labels of each model.
    models: Vec<(String, Vec<String>)>,
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
.task { font-size: .7em; } .error { color: var(--error); } footer { margin: 1rem 0; }
";

impl Html {
    pub(super) fn new(models: &[&TaggerMetadata]) -> Self {
        Self {
            models: models.iter().map(|model| (model.task.clone(), model.labels.clone())).collect(),
            records: Cell::new(0),
            spans: Cell::new(0),
            errors: Cell::new(0),
        }
    }

    fn title(&self) -> String {
        let tasks: Vec<&str> = self.models.iter().map(|(task, _)| task.as_str()).collect();
        format!("Spans of {}", tasks.join(", "))
    }

    fn document(&self) -> Document {
        document(&self.title(), "und", STYLE)
    }

    /// A hue of its own for each label: the golden angle keeps neighbors apart.
    fn style(&self, model: usize, label: &str) -> String {
        let before: usize = self.models.iter().take(model).map(|(_, labels)| labels.len()).sum();
        let labels = self.models.get(model).map(|(_, labels)| labels.as_slice()).unwrap_or_default();
        let place = before + labels.iter().position(|known| known == label).unwrap_or(labels.len());
        format!("--hue:{}", (place * 137 + 100) % 360)
    }

    /// The text with the spans of one model marked.
    fn marked(&self, model: usize, tagged: &Tagged) -> Markup {
        count(&self.spans, tagged.spans.len());
        html! {
            @for (text, span) in pieces(tagged) {
                @match span {
                    Some(span) => mark style=(self.style(model, &span.label)) {
                        (text) small { (span.label) }
                    },
                    None => (text),
                }
            }
        }
    }
}

fn count(cell: &Cell<usize>, more: usize) {
    cell.set(cell.get() + more);
}

impl Writer for Html {
    fn begin(&self) -> String {
        let several = self.models.len() > 1;
        let legend = html! {
            h1 { (self.title()) }
            @for (at, (task, labels)) in self.models.iter().enumerate() {
                @let name = if several { format!("Labels of {task}") } else { "Labels".to_owned() };
                nav aria-label=(name) {
                    @if several { b { (task) } " " }
                    @for label in labels { mark style=(self.style(at, label)) { (label) } " " }
                }
            }
        };
        format!("{}{}\n<ol>\n", self.document().begin, legend.into_string())
    }

    fn record(&mut self, entry: &Entry) -> Result<String> {
        count(&self.records, 1);
        let item = match &entry.result {
            Ok(models) => html! {
                li dir="auto" {
                    @match &models[..] {
                        [tagged] => (self.marked(0, tagged)),
                        models => {
                            @for (at, (tagged, (task, _))) in models.iter().zip(&self.models).enumerate() {
                                div { b.task { (task) } " " (self.marked(at, tagged)) }
                            }
                        }
                    }
                }
            },
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
    use super::super::examples::{entries, entry, model, of_two_models, tagged};
    use super::*;

    fn page(entries: &[Entry]) -> String {
        page_of(&[&model("a & b", &["date_time", "name"])], entries)
    }

    fn page_of(models: &[&TaggerMetadata], entries: &[Entry]) -> String {
        let mut html = Html::new(models);
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

    #[test]
    fn several_models_have_a_legend_and_a_line_each() {
        let models = [model("alarms", &["date_time", "name"]), model("places", &["name", "place"])];
        let page = page_of(&[&models[0], &models[1]], &of_two_models());
        let body = page.split_once("<body>").unwrap().1;
        insta::assert_snapshot!(body, @r#"
        <h1>Spans of alarms, places</h1><nav aria-label="Labels of alarms"><b>alarms</b> <mark style="--hue:100">date_time</mark> <mark style="--hue:237">name</mark> </nav><nav aria-label="Labels of places"><b>places</b> <mark style="--hue:14">name</mark> <mark style="--hue:151">place</mark> </nav>
        <ol>
        <li dir="auto"><div><b class="task">alarms</b> set a <mark style="--hue:237">&quot;café&quot;<small>name</small></mark> alarm for <mark style="--hue:100">7 am<small>date_time</small></mark></div><div><b class="task">places</b> set a <mark style="--hue:151">&quot;café&quot; alarm<small>place</small></mark> for 7 am</div></li>
        <li dir="auto"><div><b class="task">alarms</b> 😀 a <mark style="--hue:14">&lt;b&gt;<small>x/y</small></mark> &amp; &quot;c&quot;</div><div><b class="task">places</b> 😀 a &lt;b&gt; &amp; &quot;c&quot;</div></li>
        <li dir="auto"><div><b class="task">alarms</b> </div><div><b class="task">places</b> </div></li>
        <li dir="auto">bad
        line <span class="error">error: argument 4: task `places`: the line	is bad</span></li>
        </ol>
        <footer>4 records, 4 spans, 1 errors</footer>
        </body>
        </html>
        "#);
    }
}
