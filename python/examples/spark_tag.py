"""Tags Parquet files with Spark: python spark_tag.py MODEL.onnx INPUT_FOLDER OUTPUT_FOLDER [MASTER]

The column `text` is tagged. A text that cannot be tagged has no spans, and the reason in the column `error`.
"""

import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from hyperloader import Tagger

SPAN = "struct<start bigint, end bigint, label string, text string, score double, unknown boolean>"
NEW = f"spans array<{SPAN}>, complete boolean, unread array<bigint>, error string"


def main(model: str, source: str, target: str, master: str = "local[2,4]") -> None:
    # On one machine, Spark tries a task once; the second number lets it try four times, as on a cluster.
    builder = SparkSession.builder.master(master).appName("hyperloader")
    # Spark makes partitions of 128 MB, which would be hours of tagging for one task.
    spark = builder.config("spark.sql.files.maxPartitionBytes", "1m").getOrCreate()
    sentences = spark.read.parquet(source)
    # The tagger is pickled; each task opens the file, and maps the weights that all tasks of its machine share.
    tagger = Tagger(model, threads=1, cache=True)

    def tag(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield from tagger.tag_arrow(batch, "text", errors="return").to_batches()

    schema = StructType(sentences.schema.fields + StructType.fromDDL(NEW).fields)
    tagged = sentences.mapInArrow(tag, schema)
    tagged.write.parquet(target)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
