"""Word vectors: reading them, what they know of a text, and an encoder made of them."""
