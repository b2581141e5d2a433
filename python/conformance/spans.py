"""Tags texts with the package, prints what was found: python spans.py ENGINE MODEL TEXTS.json, ENGINE is python, ray or spark

The output is JSON: the objects of hl-run by unit of offsets. Those of the package are converted from code points. On Ray and
Spark, two workers tag Arrow tables, which have no scores of tags.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hyperloader import Tagger

# Spark starts its workers with it.
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

# Texts that a worker takes at a time: each has some.
ROWS = 64


def in_unit(text: str, at: int, unit: str) -> int:
    """The offset of a code point in another unit."""
    before = text[:at]
    return {"chars": at, "bytes": len(before.encode()), "utf16": len(before.encode("utf-16-le")) // 2}[unit]


def in_python(model: str, texts: list[str]) -> list[dict]:
    found = [tagged.to_dict() for tagged in Tagger(model, scores=True).tag(texts)]
    for object_ in found:
        object_["tag_scores"] = [{"score": score} for score, _ in object_["tag_scores"]]
    return found


class Tag:
    """A worker, as in python/examples, with scores."""

    def __init__(self, model: str) -> None:
        self.tagger = Tagger(model, threads=1, cache=True, scores=True)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self.tagger.tag_arrow(batch, "text")


def on_ray(model: str, source: Path, target: Path) -> None:
    import ray

    ray.init(num_cpus=3, log_to_driver=False)
    pool = ray.data.ActorPoolStrategy(size=2)
    sentences = ray.data.read_parquet(str(source)).repartition(target_num_rows_per_block=ROWS)
    options = {"batch_format": "pyarrow", "batch_size": None, "num_cpus": 1, "compute": pool}
    sentences.map_batches(Tag, fn_constructor_args=[model], **options).write_parquet(str(target))


def on_spark(model: str, source: Path, target: Path) -> None:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

    spark = SparkSession.builder.master("local[2]").appName("spans").getOrCreate()
    sentences = spark.read.parquet(str(source)).repartition(2)
    tagger = Tagger(model, threads=1, cache=True, scores=True)

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from tagger.tag_arrow(batch, "text").to_batches()

    span = "struct<start bigint, end bigint, label string, text string, score double, unknown boolean>"
    new = StructType.fromDDL(f"spans array<{span}>, complete boolean, unread array<bigint>, score double")
    sentences.mapInArrow(tag, StructType(sentences.schema.fields + new.fields)).write.parquet(str(target))
    spark.stop()


def on_cluster(engine: str, model: str, texts: list[str]) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "texts.parquet", Path(folder) / "tagged"
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), source)
        {"ray": on_ray, "spark": on_spark}[engine](model, source, target)
        return pq.read_table(target).sort_by("id").to_pylist()


def main(engine: str, model: str, file: str) -> None:
    texts = json.loads(Path(file).read_text(encoding="utf-8"))
    objects = in_python(model, texts) if engine == "python" else on_cluster(engine, model, texts)
    found = {}
    for unit in ("chars", "bytes", "utf16"):
        found[unit] = [
            {**object_, "spans": [{**span, **place(object_["text"], span, unit)} for span in object_["spans"]]}
            for object_ in objects
        ]
    print(json.dumps(found))


def place(text: str, span: dict, unit: str) -> dict:
    return {name: in_unit(text, span[name], unit) for name in ("start", "end")}


if __name__ == "__main__":
    main(*sys.argv[1:])
