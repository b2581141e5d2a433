"""Writes invoice sentences with ORG, AMOUNT and DATE as a doccano export and as a CoNLL file.

    python3 bench/own-corpus/invoices.py FOLDER [--sentences 200] [--seed 1]

The sentences are made from templates and lists of our own: a corpus that needs no licence, of the size that one person
annotates in an afternoon. Names, numbers and dates are drawn anew for every sentence.
"""

import argparse
import json
import pathlib
import random
import re

NAMES = """Alder Birch Corvo Delmar Eastgate Fjord Granite Harbour Ivory Juniper Kestrel Lindqvist Moreau Northwind Okafor
Pemberton Quarry Rowan Sandoval Thistle Umber Vantage Whitlock Yarrow Zephyr Brightwater Castellan Dunmore Ellery
Fairbanks""".split()
TRADES = """Logistics Foods Printing Motors Textiles Consulting Media Energy Paper Optics Hardware Catering Travel Robotics
Ceramics""".split()
FORMS = ["Ltd", "GmbH", "Inc.", "& Sons", "AG", "LLC", "S.A.", ""]
MONTHS = """January February March April May June July August September October November December""".split()

TEMPLATES = [
    "{ORG} billed us {AMOUNT} on {DATE}.",
    "Please pay {AMOUNT} to {ORG} by {DATE}.",
    "Invoice from {ORG} dated {DATE}, total {AMOUNT}",
    "The amount of {AMOUNT} is due on {DATE}.",
    "We received {AMOUNT} from {ORG}.",
    "{ORG} sent a reminder on {DATE}",
    "Your payment of {AMOUNT} to {ORG} was booked on {DATE}.",
    "Credit note: {AMOUNT}, issued by {ORG} on {DATE}.",
    "On {DATE} {ORG} charged {AMOUNT} for delivery.",
    "Balance due {DATE}: {AMOUNT}",
    "{ORG} and {ORG} share the cost of {AMOUNT}.",
    "Thank you for your order, it will be shipped soon.",
    "The discount of {AMOUNT} expires on {DATE} at {ORG}.",
    "Remit to {ORG}, not later than {DATE}.",
    "Deposit of {AMOUNT} paid on {DATE}, rest of {AMOUNT} due on {DATE}.",
    "Questions about this invoice? Call our office.",
]


def organization(random):
    words = [random.choice(NAMES), random.choice(TRADES + [""]), random.choice(FORMS)]
    return " ".join(word for word in words if word)


def amount(random):
    whole = random.choice([random.randint(5, 99), random.randint(100, 999), random.randint(1000, 99999)])
    number = f"{whole:,}" + random.choice(["", f".{random.randint(0, 99):02}"])
    return random.choice(["${}", "€{}", "£{}", "{} EUR", "{} USD", "{} euros", "EUR {}"]).format(number)


def date(random):
    day, month, year = random.randint(1, 28), random.randint(1, 12), random.randint(2021, 2026)
    return random.choice(
        [
            f"{day} {MONTHS[month - 1]} {year}",
            f"{MONTHS[month - 1]} {day}, {year}",
            f"{year}-{month:02}-{day:02}",
            f"{day:02}/{month:02}/{year}",
            f"{MONTHS[month - 1]} {day}",
        ]
    )


VALUES = {"ORG": organization, "AMOUNT": amount, "DATE": date}


def sentence(random):
    """Text and spans (start, end, label) in characters."""
    text, spans = "", []
    for part in re.split(r"({[A-Z]+})", random.choice(TEMPLATES)):
        if part.startswith("{"):
            label = part[1:-1]
            value = VALUES[label](random)
            spans.append([len(text), len(text) + len(value), label])
            text += value
        else:
            text += part
    return text, spans


def conll(text, spans):
    """A token of letters and digits or one other character in each line, with its BIO tag."""
    lines = []
    for token in re.finditer(r"\w+|[^\w\s]", text):
        tag = "O"
        for start, end, label in spans:
            if start <= token.start() < end:
                tag = ("B-" if token.start() == start else "I-") + label
        lines.append(f"{token.group()} {tag}")
    return "\n".join(lines) + "\n\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    args.folder.mkdir(parents=True, exist_ok=True)
    found = {}
    while len(found) < args.sentences:
        text, spans = sentence(draw)
        # The few templates without a span are kept once.
        found.setdefault(text, spans)
    with open(args.folder / "doccano.jsonl", "w", encoding="utf-8") as file:
        for number, (text, spans) in enumerate(found.items(), 1):
            print(json.dumps({"id": number, "text": text, "label": spans}, ensure_ascii=False), file=file)
    with open(args.folder / "invoices.conll", "w", encoding="utf-8") as file:
        file.writelines(conll(text, spans) for text, spans in found.items())


if __name__ == "__main__":
    main()
