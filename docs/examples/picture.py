"""Draw tagged sentences: JSON lines of `hl-run --output-format jsonl` on stdin, an SVG picture on stdout."""

import json
import sys
from xml.sax.saxutils import escape

WIDTH = 760
CHARACTER = 8.43
LEFT, TOP, LINE = 20, 34, 62
# (background, border, label), one per label in order of appearance
COLORS = [
    ("#ddf4ff", "#54aeff", "#0550ae"),
    ("#fff8c5", "#d4a72c", "#7d4e00"),
    ("#dafbe1", "#4ac26b", "#116329"),
    ("#fbefff", "#c297ff", "#6639ba"),
    ("#ffebe9", "#ff8182", "#a40e26"),
]
MONOSPACE = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def text(x, y, string, size, color):
    """One run of text with a fixed width, so that it has its place in any font."""
    width = len(string) * CHARACTER * size / 14
    return (
        f'<text x="{x:.1f}" y="{y}" font-size="{size}" fill="{color}" textLength="{width:.1f}" '
        f'lengthAdjust="spacingAndGlyphs" xml:space="preserve">{escape(string)}</text>'
    )


def draw(sentences):
    colors, parts = {}, []
    for number, sentence in enumerate(sentences):
        y, ends = TOP + number * LINE, [0, 0]
        for span in sentence["spans"]:
            color = colors.setdefault(span["label"], COLORS[len(colors) % len(COLORS)])
            x = LEFT + span["start"] * CHARACTER
            width = (span["end"] - span["start"]) * CHARACTER
            parts.append(
                f'<rect x="{x - 4:.1f}" y="{y - 17}" width="{width + 8:.1f}" height="25" rx="5" '
                f'fill="{color[0]}" stroke="{color[1]}"/>'
            )
            # A label goes into the first of two rows where it does not overlap the label before it.
            row = 0 if ends[0] <= x else 1
            ends[row] = x + (len(span["label"]) + 1) * CHARACTER * 10 / 14
            parts.append(text(x, y + 21 + 12 * row, span["label"], 10, color[2]))
        parts.append(text(LEFT, y, sentence["text"], 14, "#1f2328"))
    height = TOP + (len(sentences) - 1) * LINE + 44
    title = "Sentences with labeled spans: " + "; ".join(sentence["text"] for sentence in sentences)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="{MONOSPACE}" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#d1d9e0"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    sys.stdout.write(draw([json.loads(line) for line in sys.stdin]))
