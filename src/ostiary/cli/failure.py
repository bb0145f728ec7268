"""What the command says when it cannot go on. Knows nothing else."""


class Failure(Exception):
    """The text is one sentence for the operator that says what to do; exit status 1."""
