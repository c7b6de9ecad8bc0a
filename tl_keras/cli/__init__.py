"""The command line, thin: one module a command. Importing it loads no TensorFlow."""


def main() -> None:
    """Run the command that `sys.argv` gives."""
    from tl_keras.cli.app import main as run  # here: whoever imports one command's module does not want all of them

    run()
