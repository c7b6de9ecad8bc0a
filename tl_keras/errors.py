"""The one error that means: the call or the input is wrong, and here is what to do about it."""


class UserError(ValueError):
    """Something the user can mend: a missing file, a wrong column, an option that does not fit.

    The message is one sentence or two that name the file, row or option, and the fix. The command line prints it
    without a traceback and ends with exit code 2; in Python it is an ordinary `ValueError`.
    """
