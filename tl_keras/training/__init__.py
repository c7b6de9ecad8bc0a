"""Optimizers, schedules, callbacks."""
