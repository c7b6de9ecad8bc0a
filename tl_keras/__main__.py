"""`python -m tl_keras` is `tl-keras`."""

from tl_keras.cli import main

main()
