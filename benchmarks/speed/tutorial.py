"""The TF Hub tutorial's way (https://www.tensorflow.org/text/tutorials/classify_text_with_bert), for `make bench`.

The preprocessing module is a layer of the model, so every text is padded to 128 tokens, in random batches, and a frozen encoder runs in
every epoch. Keras 2, because `hub.KerasLayer` knows no other.
"""

from __future__ import annotations

import gc

from measure import BATCH, RATE, clock, main, mb_a_model, read_texts, resident_mb


def build(options, trainable: bool):
    import tensorflow as tf
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401

    keras = tf.keras
    text = keras.Input(shape=(), dtype="string")
    packed = hub.KerasLayer(f"{options.encoder}/preprocess")(text)
    pooled = hub.KerasLayer(f"{options.encoder}/encoder", trainable=trainable)(packed)["pooled_output"]
    model = keras.Model(text, keras.layers.Dense(2, activation="softmax")(keras.layers.Dropout(0.1)(pooled)))
    rate = RATE if trainable else 5e-3
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        "sparse_categorical_crossentropy",
        ["accuracy"],
    )
    return model


def batches(options):
    import tensorflow as tf

    texts, labels = read_texts(options.data, options.texts, options.count)
    data = tf.data.Dataset.from_tensor_slices((texts, labels)).shuffle(len(texts), seed=0)
    return data.batch(BATCH).prefetch(tf.data.AUTOTUNE)


def fine_tune(options) -> dict:
    model, data = build(options, trainable=True), batches(options)
    model.fit(data, epochs=1, verbose=0)
    with clock() as times:
        model.fit(data, epochs=1, verbose=0)
    return {**times, "items": options.count}


def frozen(options) -> dict:
    model, data = build(options, trainable=False), batches(options)
    with clock() as times:
        model.fit(data, epochs=options.epochs, verbose=0)
    return {**times, "items": options.count, "train_accuracy": float(model.evaluate(data, verbose=0)[1])}


def export(options) -> dict:
    model = build(options, trainable=False)
    with clock() as times:
        model.save(options.folder, include_optimizer=False, save_format="tf")
    return {**times, "items": 1}


def first_model(options) -> dict:
    with clock() as times:
        build(options, trainable=False)
    return {**times, "items": 1}


def many_models(options) -> dict:
    """Resident memory after each of several builds and short fits."""
    import tensorflow as tf

    resident = []
    with clock() as times:
        for _ in range(options.epochs):
            model = build(options, trainable=True)
            model.fit(batches(options), epochs=1, verbose=0)
            del model
            tf.keras.backend.clear_session()
            gc.collect()
            resident.append(round(resident_mb()))
    return {**times, "items": options.epochs, "resident_mb": resident, "mb_a_model": mb_a_model(resident)}


JOBS = (fine_tune, frozen, export, first_model, many_models)

if __name__ == "__main__":
    main({job.__name__: job for job in JOBS})
