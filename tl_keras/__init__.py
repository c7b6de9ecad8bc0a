"""Transfer learning for text with Keras and TensorFlow Hub.

The names below are the public ones; more of them are in `tl_keras.data` (examples and their readers), `tl_keras.training` (what goes
around `fit`) and `tl_keras.plots`. They are imported when first used, so that `import tl_keras` is quick and does not load TensorFlow:
whoever wants Keras 2 can still set `TF_USE_LEGACY_KERAS=1` after importing us.
"""

from tl_keras._lazy import lazy_names
from tl_keras._version import __version__

_PUBLIC = {
    "advise": "tl_keras.advice.advise",
    "batches": "tl_keras.models.text_labels",
    "bi_encoder": "tl_keras.models.pair_builders",
    "cache_features": "tl_keras.features.frozen",
    "choose_lexical_weight": "tl_keras.serving.lexical_weight",
    "compress": "tl_keras.pretraining.compress",
    "convert": "tl_keras.encoders.convert",
    "data": "tl_keras.data",
    "describe": "tl_keras.models.transfer_control",
    "elmo_encoder": "tl_keras.models.elmo",
    "encode": "tl_keras.serving.encode",
    "encoder_of": "tl_keras.encoders.load",
    "evaluate": "tl_keras.serving.evaluate",
    "explain": "tl_keras.serving.explain",
    "export": "tl_keras.serving.predict",
    "few_shot_classifier": "tl_keras.models.few_shot",
    "fill_mask": "tl_keras.serving.fill_mask",
    "generate": "tl_keras.serving.predict",
    "KerasLayer": "tl_keras.encoders.encoder_layer",
    "list_presets": "tl_keras.encoders.presets",
    "load_elmo": "tl_keras.models.elmo",
    "load_encoder": "tl_keras.encoders.load",
    "load_exported": "tl_keras.serving.predict",
    "load_language_model": "tl_keras.models.language_model",
    "load_model": "tl_keras.serving.keras_models",
    "plots": "tl_keras.plots",
    "predict": "tl_keras.serving.predict",
    "predict_file": "tl_keras.serving.stream",
    "question_answerer": "tl_keras.models.pair_builders",
    "read_retrieval_pairs": "tl_keras.data.pairs",
    "read_scored": "tl_keras.data.pairs",
    "read_squad": "tl_keras.data.squad",
    "read_table": "tl_keras.data.table",
    "read_tagged": "tl_keras.data.tagging_files",
    "read_vectors": "tl_keras.encoders.word_vectors.read",
    "sentence_encoder": "tl_keras.models.pair_builders",
    "set_transfer": "tl_keras.models.transfer_control",
    "text_classifier": "tl_keras.models.builders",
    "text_regressor": "tl_keras.models.builders",
    "text_generator": "tl_keras.models.builders",
    "TextEncoder": "tl_keras.serving.sklearn_encoder",
    "TextIndex": "tl_keras.serving.index",
    "token_classifier": "tl_keras.models.builders",
    "training": "tl_keras.training",
    "Transfer": "tl_keras.encoders.transfer_plan",
    "UserError": "tl_keras.errors",
    "word_vector_encoder": "tl_keras.encoders.word_vectors.encoder",
    "zero_shot_classifier": "tl_keras.serving.by_handle",
}

__all__ = ["__version__", *_PUBLIC]
__getattr__, __dir__ = lazy_names(__name__, _PUBLIC)
