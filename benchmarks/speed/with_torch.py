"""PyTorch's ways, for `make bench`: transformers, sentence-transformers, tokenizers. In an environment of their own."""

from __future__ import annotations

import random

from measure import BATCH, RATE, clock, like_lengths, main, peak_mb, read_texts


def threads() -> None:
    import os

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())


def fine_tune(options) -> dict:
    """Mean pooling, dropout 0.1, a linear layer; dynamic padding, in random batches or in batches of like length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    threads()
    torch.manual_seed(0)
    texts, labels = read_texts(options.data, options.texts, options.count)
    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    encoder = AutoModel.from_pretrained(options.weights, add_pooling_layer=False)
    head = torch.nn.Linear(encoder.config.hidden_size, 2)
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, eps=1e-6, weight_decay=0.01)
    lengths = [len(ids) for ids in tokenizer(texts, truncation=True, max_length=options.length).input_ids]
    encoder.train()

    def epoch(seed: int) -> None:
        if options.batches == "like":
            found = like_lengths(lengths, seed)
        else:
            order = list(range(len(texts)))
            random.Random(seed).shuffle(order)
            found = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        for rows in found:
            batch = [texts[i] for i in rows]
            inputs = tokenizer(batch, padding=True, truncation=True, max_length=options.length, return_tensors="pt")
            hidden, mask = encoder(**inputs).last_hidden_state, inputs["attention_mask"].unsqueeze(-1).float()
            pooled = torch.nn.functional.dropout((hidden * mask).sum(1) / mask.sum(1), 0.1)
            loss = torch.nn.functional.cross_entropy(head(pooled), torch.tensor([labels[i] for i in rows]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()

    epoch(0)
    with clock() as times:
        epoch(1)
    return {**times, "items": len(texts)}


def encode(options) -> dict:
    """sentence-transformers' `encode`."""
    from sentence_transformers import SentenceTransformer

    threads()
    texts, _ = read_texts(options.data, options.texts, options.count)
    model = SentenceTransformer(options.weights, device="cpu")
    model.max_seq_length = options.length
    model.encode(texts, batch_size=64)
    with clock() as times:
        model.encode(texts, batch_size=64)
    return {**times, "items": len(texts)}


def frozen(options) -> dict:
    """sentence-transformers' `encode`, and scikit-learn on the vectors."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    threads()
    texts, labels = read_texts(options.data, options.texts, options.count)
    model = SentenceTransformer(options.weights, device="cpu")
    model.max_seq_length = options.length
    with clock() as times:
        vectors = model.encode(texts, batch_size=64)
        fitted = LogisticRegression(max_iter=1000).fit(vectors, labels)
    return {**times, "items": len(texts), "train_accuracy": float(fitted.score(vectors, labels))}


def tokenize(options) -> dict:
    """`tokenizers`, the library in Rust, padded to the longest of each batch."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{options.weights}/tokenizer.json")
    tokenizer.enable_truncation(options.length)
    tokenizer.enable_padding()

    def run(texts: list[str]) -> None:
        for rows in like_lengths([len(text) for text in texts], 0):
            tokenizer.encode_batch([texts[i] for i in rows])

    run(read_texts(options.data, options.texts, 256)[0])
    before = peak_mb()
    texts, _ = read_texts(options.data, options.texts, options.count)
    with clock() as times:
        run(texts)
    return {**times, "items": len(texts), "rows_mb": max(peak_mb() - before, 1.0)}


JOBS = (fine_tune, encode, frozen, tokenize)

if __name__ == "__main__":
    main({job.__name__: job for job in JOBS})
