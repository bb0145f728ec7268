"""`ostiary completion`: a script that makes a shell complete the command's words."""

import argparse

#: What the options' values are, by their placeholders.
_FILES = frozenset({"FILE"})
_FOLDERS = frozenset({"DIR"})


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for bash, zsh or fish."""
    import shtab

    for action in _actions(parser):
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # where shtab looks for it
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # as above
    return f"{shtab.complete(parser, shell=shell)}\n"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = list(parser._actions)  # noqa: SLF001 - argparse has no other way to its grammar
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for each in action.choices.values():
                found += _actions(each)
    return found
