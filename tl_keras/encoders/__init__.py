"""Bringing a pre-trained model in: handles, resolving and caching, the Keras layer, conversion, blocks, word vectors."""
