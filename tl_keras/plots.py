"""Plots for people who would rather look: of training, of results, and of what advice found (extra `plots`)."""

from tl_keras.advice.report import plot_learning_curve, plot_texts
from tl_keras.evaluation.plots import plot_confusion_matrix, plot_history

__all__ = ["plot_confusion_matrix", "plot_history", "plot_learning_curve", "plot_texts"]
