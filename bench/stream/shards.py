"""Shards of generated sentences for trainings on corpora that do not fit in memory.

python3 bench/stream/shards.py FOLDER [--sentences 10000000] [--shards 100]

Writes `shard-N.jsonl` (words and BIO tags), `valid.jsonl` and `hyperloader.toml`. The same numbers give the same bytes.
"""
import argparse
import json
import random
from pathlib import Path

LABELS = ["city", "date", "airline", "meal", "price"]
SYLLABLES = ["ba", "den", "fo", "gar", "hil", "ko", "lam", "mi", "nor", "os", "pel", "ru", "sta", "tor", "ven", "zi"]

CONFIG = """[backbone]
path = "{backbone}"

[training]
steps = 200
batch_size = 128
warmup_steps = 50
evaluate_every = 200
save_every = 50
dropout = 0.1
threads = 1
drafter = false
calibrate = false

[task.travel]
train = "shard-*.jsonl"
stream = true
valid = "valid.jsonl"
"""


def sentence(draw, words):
    """Four to twelve words, of which some are labelled."""
    tokens, tags = [], []
    while len(tokens) < draw.randint(4, 12):
        if draw.random() < 0.25:
            label = draw.choice(LABELS)
            for place in range(draw.randint(1, 2)):
                tokens.append(draw.choice(words))
                tags.append(("I-" if place else "B-") + label)
        else:
            tokens.append(draw.choice(words))
            tags.append("O")
    return json.dumps({"tokens": tokens, "tags": tags}, separators=(",", ":")) + "\n"


def write(path, count, draw, words):
    with path.open("w", encoding="utf-8") as file:
        file.writelines(sentence(draw, words) for _ in range(count))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--backbone", type=Path, default=Path(__file__).parents[2] / "fixtures/backbones/t5-nano")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    words = [a + b for a in SYLLABLES for b in SYLLABLES] + SYLLABLES
    for shard in range(options.shards):
        first, last = (options.sentences * at // options.shards for at in (shard, shard + 1))
        write(options.folder / f"shard-{shard:05}.jsonl", last - first, random.Random(shard), words)
    write(options.folder / "valid.jsonl", 200, random.Random(-1), words)
    (options.folder / "hyperloader.toml").write_text(CONFIG.format(backbone=options.backbone.resolve()))


if __name__ == "__main__":
    main()
