"""Pre-training in one call, whatever the settings are for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from tl_keras.errors import UserError
from tl_keras.pretraining.settings import PretrainingSettings

# By the kind of settings; imported when asked for, because each brings libraries of its own.
RUNS = {
    "bert": ("tl_keras.pretraining.bert", "BertPretraining"),
    "bilm": ("tl_keras.pretraining.bilm.bilm", "BilmPretraining"),
    "gpt": ("tl_keras.pretraining.gpt", "GptPretraining"),
}


def run_class(settings: PretrainingSettings) -> type:
    """The class of runs that settings are for.

    Raises:
        UserError: A package that it needs is not installed.
    """
    module, name = RUNS[settings.kind]
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise UserError(f"pre-training needs the package {error.name}: pip install 'tl_keras[pretrain]'") from error


def pretrain(
    settings: PretrainingSettings,
    resume: bool = False,
    on_report: Callable | None = None,
    command: str | None = None,
) -> Path:
    """Pre-train a model on text files, and write it into the run folder.

    Args:
        settings: `BertSettings` for an encoder pair, `BilmSettings` for a SavedModel that gives ELMo vectors, `GptSettings` for a
            causal language model (a KerasHub preset in `preset/`).
        resume: Go on from the checkpoint in `settings.out`.
        on_report: Called with a `Report` after each step.
        command: The command line, for the card.

    Returns:
        The run folder.

    Raises:
        UserError: For whatever is wrong with files or options.
    """
    run = run_class(settings)(settings, resume, on_report, command)
    run.run()
    return run.export()
