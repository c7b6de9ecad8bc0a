"""Files and frames to examples: the readers, and what they return."""

from tl_keras._lazy import lazy_names

_PUBLIC = {
    "Examples": "tl_keras.data.examples",
    "QuestionExamples": "tl_keras.data.questions",
    "read_collection": "tl_keras.data.pairs",
    "read_retrieval_pairs": "tl_keras.data.pairs",
    "read_scored": "tl_keras.data.pairs",
    "read_squad": "tl_keras.data.squad",
    "read_table": "tl_keras.data.table",
    "read_tagged": "tl_keras.data.tagging_files",
    "read_texts": "tl_keras.data.generation_texts",
    "RetrievalPairs": "tl_keras.data.pairs",
    "sample_per_class": "tl_keras.data.examples",
    "ScoredExamples": "tl_keras.data.pairs",
    "TaggedExamples": "tl_keras.data.tagging",
    "TagSet": "tl_keras.data.tagging",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
