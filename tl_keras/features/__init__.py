"""A frozen encoder run once: its vectors kept on disk, and heads trained on them."""
