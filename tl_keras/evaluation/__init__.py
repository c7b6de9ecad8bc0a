"""Metrics, reports, plots."""
