"""Making an encoder from unlabelled text: BERT pre-training, word vectors, a bidirectional language model."""
