"""Vectors that are not tensors: seqeval's scores, ids of SentT' texts, position buckets and learning rates."""
import json
import math
import warnings

import seqeval.metrics as metrics
import torch
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2
from tokenizers import Tokenizer
from transformers import T5Tokenizer, get_linear_schedule_with_warmup
from transformers.models.t5.modeling_t5 import T5Attention

END = 1  # id of </s>
LIMIT = 128  # tokens of a source or target, </s> included
SCORES = ("precision", "recall", "f1")
AVERAGES = ("micro", "macro", "weighted")


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scored(gold, predicted, **mode):
    """All scores of a case, by path. A score that is not a number is None, as in the files."""
    def number(value):
        return None if math.isnan(value) else float(value)

    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval warns of every undefined score
        report = metrics.classification_report(gold, predicted, output_dict=True, zero_division=0, **mode) \
            if any(get_entities(gold)) or any(get_entities(predicted)) else {}
        for average in AVERAGES:
            scores = metrics.precision_score, metrics.recall_score, metrics.f1_score
            for name, score in zip(SCORES, scores):
                found[f"{average}.{name}"] = number(score(gold, predicted, average=average, zero_division=0, **mode))
    for label, scores in report.items():
        if label not in ("micro avg", "macro avg", "weighted avg"):
            for name in (*SCORES, "support"):
                found[f"per_type.{label}.{name}"] = float(scores["f1-score" if name == "f1" else name])
    return found


def flat(averages, per_type):
    """A recorded case in the form of `scored`."""
    found = {f"{average}.{name}": averages[average][name] for average in AVERAGES for name in SCORES}
    for label, scores in per_type.items():
        found.update({f"per_type.{label}.{name}": float(scores[name]) for name in (*SCORES, "support")})
    return found


def seqeval_bio(golden):
    """Raw tag sequences, in seqeval's default mode and in mode strict with scheme IOB2."""
    recorded, remade = {}, {}
    for case in rows(golden / "seqeval" / "bio.jsonl"):
        key, gold, predicted = case["id"], case["gold"], case["pred"]
        recorded[f"{key}.accuracy"] = case["accuracy"]
        remade[f"{key}.accuracy"] = float(metrics.accuracy_score(gold, predicted))
        for name, mode in (("default", {}), ("strict_iob2", {"mode": "strict", "scheme": IOB2})):
            want = flat(case[name], case[name]["per_type"])
            recorded.update({f"{key}.{name}.{entry}": value for entry, value in want.items()})
            found = scored(gold, predicted, **mode)
            remade.update({f"{key}.{name}.{entry}": value for entry, value in found.items()})
    return recorded, remade


def seqeval_sbio(golden):
    """Scores of the recorded BIO sequences. The step from text to BIO is the authors' own and is not made anew."""
    recorded, remade = {}, {}
    for case in rows(golden / "seqeval" / "sbio.jsonl"):
        key, gold, predicted = case["id"], case["gold_bio"], case["pred_bio"]
        want = flat(case["averages"], case["per_type"])
        want.update({f"micro.{name}": case[name] for name in SCORES})
        want.update({name: case[name] for name in ("n_gold", "n_pred", "n_correct")})
        recorded.update({f"{key}.{entry}": value for entry, value in want.items()})
        in_gold, in_predicted = set(get_entities(gold)), set(get_entities(predicted))
        found = scored(gold, predicted)
        found.update(n_gold=len(in_gold), n_pred=len(in_predicted), n_correct=len(in_gold & in_predicted))
        remade.update({f"{key}.{entry}": value for entry, value in found.items()})
    return recorded, remade


def sentt(golden, encode, prefix):
    """Ids of the recorded texts by `encode`; `prefix` is `fast_` for the tokenizer that differs on two rows."""
    recorded, remade = {}, {}
    for row in rows(golden / "sentt" / "sentt.jsonl"):
        for side in ("source", "target"):
            key, ids = f"{row['id']}.{side}", encode(row[f"{side}_text"])
            recorded[key] = row.get(f"{prefix}{side}_ids", row[f"{side}_ids"])
            remade[key] = ids
            if f"{side}_ids_128" in row:
                recorded[f"{key}.cut"], remade[f"{key}.cut"] = row[f"{side}_ids_128"], ids[: LIMIT - 1] + [END]
        if "prefixed_source_text" in row:
            key = f"{row['id']}.prefixed"
            recorded[key], remade[key] = row["prefixed_source_ids"], encode(row["prefixed_source_text"])
    return recorded, remade


def sentt_fast(golden, tokenizer):
    fast = Tokenizer.from_file(str(tokenizer))
    return sentt(golden, lambda text: fast.encode(text).ids, "fast_")


def sentt_slow(golden, spiece):
    slow = T5Tokenizer(vocab_file=str(spiece), legacy=True)
    return sentt(golden, lambda text: slow(text).input_ids, "")


def position_buckets(golden):
    recorded = json.loads((golden / "hyperloader" / "position_buckets.json").read_text())
    positions = torch.tensor(recorded["relative_position"])
    remade = {name: T5Attention._relative_position_bucket(
        positions, bidirectional=name == "bidirectional", num_buckets=32, max_distance=128).tolist()
        for name in ("bidirectional", "unidirectional")}
    return {name: recorded[name] for name in remade}, remade


def anchors(golden):
    """Learning rates of the authors' schedule, and the least possible label-smoothed loss of a token."""
    recorded = json.loads((golden / "hyperloader" / "anchors.json").read_text())
    schedule, floor = recorded["lr_schedule"], recorded["label_smoothing_floor_per_token"]
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    factor = get_linear_schedule_with_warmup(optimizer, schedule["warmup"], schedule["total"]).lr_lambdas[0]
    rest = floor["epsilon"] / floor["vocab"]
    top = 1 - floor["epsilon"] + rest
    want = {f"lr.{step}": rate for step, rate in schedule["lr_at_t"].items()}
    got = {f"lr.{step}": schedule["base_lr"] * factor(int(step)) for step in schedule["lr_at_t"]}
    want["floor"] = floor["value"]
    got["floor"] = -top * math.log(top) - (floor["vocab"] - 1) * rest * math.log(rest)
    return want, got
