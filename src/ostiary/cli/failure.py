"""The error that ends a command with one sentence. Imports nothing else of Ostiary."""


class Failure(Exception):
    """Ends the command with exit status 1; the text is one sentence that says what to do."""
