"""Tags Parquet files with Ray Data: python ray_tag.py MODEL.onnx INPUT_FOLDER OUTPUT_FOLDER [ACTORS]

The column `text` is tagged. A text that cannot be tagged has no spans, and the reason in the column `error`.
"""

import sys

import pyarrow as pa
import ray

from hyperloader import Tagger


class Tag:
    """An actor: it opens the file once, and maps the weights that all actors of its machine share."""

    def __init__(self, model: str) -> None:
        # Ray divides the cores among actors: one each, by `num_cpus` below.
        self.tagger = Tagger(model, threads=1, cache=True)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self.tagger.tag_arrow(batch, "text", errors="return")


if __name__ == "__main__":
    model, source, target = sys.argv[1:4]
    ray.init(ignore_reinit_error=True)
    # Reading and writing need a core, too: without one, nothing would ever be read.
    cores = int(ray.cluster_resources()["CPU"])
    actors = int(sys.argv[4]) if len(sys.argv) > 4 else cores - 1
    if not 0 < actors < cores:
        sys.exit(f"error: {actors} actors on {cores} cores: one core reads and writes, so that at least 2 are needed")
    pool = ray.data.ActorPoolStrategy(size=actors)
    # Ray makes blocks of 128 MB, which would be hours of tagging for one actor.
    sentences = ray.data.read_parquet(source).repartition(target_num_rows_per_block=2048)
    options = {"batch_format": "pyarrow", "batch_size": None, "num_cpus": 1, "compute": pool}
    tagged = sentences.map_batches(Tag, fn_constructor_args=[model], **options)
    tagged.write_parquet(target, mode="error")
