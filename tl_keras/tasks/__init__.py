"""Whole runs, from a file to a run folder: what the command line calls."""
