"""Strings to token ids to batches."""
