"""`tl-keras pretrain`: making encoders from unlabelled text. Importing this loads neither Keras nor TensorFlow."""

from __future__ import annotations

import typer

from tl_keras.cli.ending import as_command
from tl_keras.cli.pretrain_bert import bert_command
from tl_keras.cli.pretrain_bilm import bilm_command
from tl_keras.cli.pretrain_gpt import gpt_command
from tl_keras.cli.pretrain_word_vectors import word_vectors_command

app = typer.Typer(help="Make an encoder from unlabelled text.", no_args_is_help=True)
app.command("bert")(as_command(bert_command))
app.command("bilm")(as_command(bilm_command))
app.command("gpt")(as_command(gpt_command))
app.command("word-vectors")(as_command(word_vectors_command))
