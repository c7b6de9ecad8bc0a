"""The error that means that the call or the input is wrong, what ends a training early, and the exit codes that go with them."""

PREEMPTED = 143
"""The exit code after SIGTERM: 128 + 15, as a shell reports it. Schedulers such as Kubeflow start such a task again."""
WORKER_LOST = 138
"""The exit code of a worker that another one has left: of those that Kubeflow starts again, the one that is a program's own."""


class UserError(ValueError):
    """Something the user can mend: a missing file, a wrong column, an option that does not fit.

    The message is one sentence or two that name the file, row or option, and the fix. The command line prints it
    without a traceback and ends with exit code 2; in Python it is an ordinary `ValueError`.
    """


class NotFiniteError(UserError):
    """The loss or a weight is not a finite number; going on would be of no use."""


class Preempted(SystemExit):
    """SIGTERM came; what could be saved is saved. Ends the program with exit code 143."""

    def __init__(self):
        super().__init__(PREEMPTED)


class WorkerLost(SystemExit):
    """Another worker has gone, so no step can end any more. Ends the program with exit code 138."""

    def __init__(self):
        super().__init__(WORKER_LOST)
