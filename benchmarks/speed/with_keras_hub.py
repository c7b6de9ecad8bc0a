"""KerasHub's ways, for `make bench`, padded to `--length` tokens as its preprocessors do. In an environment of their own."""

from __future__ import annotations

from measure import BATCH, RATE, clock, main, read_texts


def classifier(options, trainable: bool):
    import keras
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.Backbone.from_preset(options.weights)
    tokenizer = keras_hub.models.Tokenizer.from_preset(options.weights)
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=options.length)
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=preprocessor)
    backbone.trainable = trainable
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = RATE if trainable else 5e-3
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def fine_tune(options) -> dict:
    texts, labels = read_texts(options.data, options.texts, options.count)
    model = classifier(options, trainable=True)
    model.fit(texts, labels, batch_size=BATCH, epochs=1, verbose=0)
    with clock() as times:
        model.fit(texts, labels, batch_size=BATCH, epochs=1, verbose=0)
    return {**times, "items": len(texts)}


def frozen(options) -> dict:
    texts, labels = read_texts(options.data, options.texts, options.count)
    model = classifier(options, trainable=False)
    with clock() as times:
        model.fit(texts, labels, batch_size=BATCH, epochs=options.epochs, verbose=0)
    accuracy = model.evaluate(texts, labels, verbose=0, return_dict=True)["accuracy"]
    return {**times, "items": len(texts), "train_accuracy": float(accuracy)}


def encode(options) -> dict:
    """`BertTextEmbedder`: vectors of texts, mean pooling."""
    import keras_hub

    texts, _ = read_texts(options.data, options.texts, options.count)
    tokenizer = keras_hub.models.Tokenizer.from_preset(options.weights)
    preprocessor = keras_hub.models.BertTextEmbedderPreprocessor(tokenizer, sequence_length=options.length)
    backbone = keras_hub.models.Backbone.from_preset(options.weights)
    model = keras_hub.models.BertTextEmbedder(backbone, preprocessor=preprocessor, pooling_mode="mean")
    model.compile(jit_compile=False)
    model.predict(texts[:1000], batch_size=64, verbose=0)
    with clock() as times:
        model.predict(texts, batch_size=64, verbose=0)
    return {**times, "items": len(texts)}


JOBS = (fine_tune, frozen, encode)

if __name__ == "__main__":
    main({job.__name__: job for job in JOBS})
