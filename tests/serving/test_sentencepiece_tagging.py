"""A tagger on a SentencePiece vocabulary: what is learned on characters comes back in characters, from the export too."""

from __future__ import annotations

import shutil

import tl_keras as tlk
from tl_keras._keras import keras
from tl_keras.data import TaggedExamples


def test_tags_come_back_as_characters_of_the_text(sentencepiece_pair, tmp_path):
    encoder = tlk.load_encoder(str(sentencepiece_pair), seq_length=24)
    texts = [
        "the film  was dull, 서울에서 ",
        " 영화 정말  부산까지 the music",
        "서울에서 the plot",
        "it was 부산까지 , not 서울에서",
    ]
    places = [[(t.index(w), t.index(w) + len(w), "place") for w in ("서울에서", "부산까지") if w in t] for t in texts]
    places = [sorted(spans) for spans in places]
    keras.utils.set_random_seed(3)
    examples = TaggedExamples.from_spans(texts * 60, places * 60)
    model = tlk.token_classifier(encoder, examples.tag_set, transfer="fine-tune", learning_rate=0.02)
    model.fit(tlk.batches(model, examples, training=True, batch_size=8), epochs=2, verbose=0)
    exported = tlk.export(model, tmp_path / "exported" / "1")
    for made in (model, tlk.load_exported(shutil.move(exported, tmp_path / "moved"))):
        found = tlk.predict(made, texts)
        assert [
            [(span["start"], span["end"], span["label"]) for span in spans] for spans in found["entities"]
        ] == places
