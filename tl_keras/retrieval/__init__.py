"""Searching a collection of texts by meaning."""
