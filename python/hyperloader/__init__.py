"""Tags text with a tagger that HyperLoader exported: named entities, slots.

    >>> from hyperloader import Tagger
    >>> tagger = Tagger("mtop.onnx")
    >>> for tagged in tagger.tag(["set an alarm for 7 am"]):
    ...     for span in tagged.spans:
    ...         print(span.start, span.end, span.label, span.text)

- `Tagger`: opens a file and tags texts, words and Arrow tables
- `Tagged` and `Span`: the results
- `pipeline`: a callable with the interface of transformers' pipeline for token classification
- `hyperloader.spacy`: the component `hyperloader` of spaCy
- `python -m hyperloader`: the program `hl-run`
"""

from hyperloader._hyperloader import __version__
from hyperloader.errors import BackendError, Error, ModelError, SentenceError, TaggerWarning
from hyperloader.pipeline import TokenClassificationPipeline, pipeline
from hyperloader.tagged import Span, Tagged
from hyperloader.tagger import Tagger

__all__ = [
    "BackendError",
    "Error",
    "ModelError",
    "SentenceError",
    "Span",
    "Tagged",
    "Tagger",
    "TaggerWarning",
    "TokenClassificationPipeline",
    "__version__",
    "pipeline",
]
