"""The sentences of the conformance checks: 500, of which 100 have unusual Unicode."""

from __future__ import annotations

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Words and characters that programs count, split or normalize differently.
UNUSUAL = [
    "caf\u00e9",  # one code point for a letter with an accent
    "cafe\u0301",  # two
    "\U0001f600",  # outside the basic plane: two units of UTF-16
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # joined by zero-width joiners
    "\U0001f1ea\U0001f1fa",  # a flag
    "\u0645\u0631\u062d\u0628\u0627",  # right to left
    "\u202e7 am\u202c",  # an override of the direction
    "\u4eca\u5929\u65e9\u4e0a7\u70b9",  # no spaces
    "\u0e1e\u0e23\u0e38\u0e48\u0e07\u0e19\u0e35\u0e49",
    "\ufb01ve",  # a ligature, which NFKC splits
    "\uff17\u3000\uff41\uff4d",  # full width, ideographic space
    "I\u0307stanbul \u0130zmir",  # lower case has another length
    "stra\u00dfe STRASSE",
    "\u1e9e",
    "a\u00a0b",  # no-break space
    "x\u2028y",  # line separator
    "z\u0085w",  # next line
    "soft\u00adhyphen",
    "zero\u200bwidth\ufeff",
    "\u00bd \u2460 \u2167",  # numbers that are not digits
    "\ud7a3\u1100\u1161",  # Hangul, composed and not
    "\U00020bb7\u91ce\u5bb6",  # an ideograph outside the basic plane
    "\u0915\u094d\u0937\u093f",
    "e" + "\u0301" * 30,  # many marks
    "\U0010ffff \ufffe \ufffd",  # no characters
    "tab\there",
    "\x1b[1m \x7f \x01",  # control characters
    "\u201cquoted\u201d \u2018it\u2019s\u2019",
    "\u2212\u2013\u2014-",
    "\u20ac7.50 \u00a57 $7",
]


def plain() -> list[str]:
    """The test sentences of three tasks."""
    corpora = ROOT / "fixtures/corpora"
    lines = (corpora / "mtop/en/test.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split("\t")[3] for line in lines]
    found += [line.split("\t")[2] for line in (corpora / "mtod/en/test-en.tsv").read_text("utf-8").splitlines()]
    return found + (corpora / "snips/test/seq.in").read_text("utf-8").splitlines()


def texts(count: int = 500) -> list[str]:
    """Test sentences, and sentences of them with unusual words put in; the same ones each time."""
    draw, sentences = random.Random(17), plain()
    chosen = draw.sample(sentences, count - count // 5)
    for at in range(count // 5):
        words = draw.choice(sentences).split(" ")
        words.insert(draw.randrange(len(words) + 1), UNUSUAL[at % len(UNUSUAL)])
        # Also directly at the letters of a word.
        place = draw.randrange(len(words))
        words[place] += draw.choice(UNUSUAL) if at % 2 else ""
        chosen.append(" ".join(words))
    return chosen


def short(longest: int = 18) -> list[str]:
    """Test sentences and unusual words of at most this many characters, for runs of 100,000 sentences that take minutes."""
    both = plain() + [f"{word} 7 am" for word in UNUSUAL]
    return sorted({text for text in both if len(text) <= longest})
