"""Advice before training: what the labelled texts look like, how well the encoder fits them, and what to do with it."""
