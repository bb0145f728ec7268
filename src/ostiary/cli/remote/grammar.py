"""The subcommands of what the command manages by the API, made of the tables in `nouns`."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from ostiary.cli.remote import object_keys
from ostiary.cli.remote.nouns.calls import LOGS, USAGE
from ostiary.cli.remote.nouns.declarations import (
    AnswerForm,
    Option,
    OptionKind,
    RemoteNoun,
    RemoteOperation,
)
from ostiary.cli.remote.nouns.registry import NOUNS

#: `argparse._SubParsersAction[Parser]`, which is generic for mypy alone.
Commands = Any
#: Makes a subcommand: its place, its name, and what it does.
Making = Callable[[Commands, str, str], argparse.ArgumentParser]

_METAVARS = {
    OptionKind.TEXT: "TEXT",
    OptionKind.TEXT_OR_NONE: "TEXT",
    OptionKind.TEXTS: "TEXT",
    OptionKind.NUMBER: "N",
    OptionKind.NUMBERS: "N",
    OptionKind.TIME: "TIME",
    OptionKind.RATE: "LIMIT/INTERVAL",
    OptionKind.RATES: "LIMIT/INTERVAL",
    OptionKind.PAIRS: "NAME=VALUE",
    OptionKind.FILE: "FILE",
}
_SEVERAL = frozenset({OptionKind.TEXTS, OptionKind.NUMBERS, OptionKind.RATES, OptionKind.PAIRS})


def add(commands: Commands, make: Making) -> dict[str, Commands]:
    """Add a group for each noun, and `usage` and `logs`; returns the groups by noun."""
    groups = {}
    for noun in NOUNS:
        groups[noun.name] = group = _group(commands, noun)
        for operation in noun.operations:
            command = make(group, operation.verb, operation.help)
            command.set_defaults(noun=noun, operation=operation)
            _arguments(command, noun, operation)
    for operation in (USAGE, LOGS):
        command = make(commands, operation.verb, operation.help)
        command.set_defaults(noun=None, operation=operation)
        _arguments(command, None, operation)
        if operation is LOGS:
            command.add_argument(
                "--follow", action="store_true", help="go on with new calls until it is interrupted"
            )
    return groups


def _group(commands: Commands, noun: RemoteNoun) -> Commands:
    text = f"{noun.help[:1].upper()}{noun.help[1:]}."
    group = commands.add_parser(noun.name, aliases=[noun.plural], help=noun.help, description=text)
    return group.add_subparsers(dest="action", required=True, metavar="ACTION")


def _arguments(
    command: argparse.ArgumentParser, noun: RemoteNoun | None, operation: RemoteOperation
) -> None:
    for name in operation.arguments:
        keyed = object_keys.has_keys(noun, name)
        command.add_argument(
            f"path_{name}",
            metavar=name.upper(),
            type=named if keyed else identifier,
            help=_named(name, keyed=keyed),
        )
    has_body = bool(operation.body) and operation.form is not AnswerForm.SECRET
    # What `--body` may have as well cannot be required of the options.
    _options(command, operation.body, required=not has_body)
    _options(command, operation.query, required=True)
    if has_body:
        command.add_argument(
            "--body",
            metavar="FILE",
            help="JSON with fields; options go before it (- for standard input)",
        )
    if operation.form is AnswerForm.LIST:
        command.add_argument(
            "--limit", type=limit, default=1000, metavar="N", help="how many, 0 for all (1000)"
        )
    add_target(command)
    if operation.secret or operation.form is AnswerForm.SECRET:
        command.add_argument(
            "--secret-file",
            metavar="FILE",
            help="write a new secret there (mode 0600), not to the terminal",
        )


def _named(name: str, *, keyed: bool) -> str:
    what = "id or key" if keyed else "id"
    return what if name == "id" else f"{what} of the {name.removesuffix('_id').replace('_', ' ')}"


def _options(
    command: argparse.ArgumentParser, options: Iterable[Option], *, required: bool
) -> None:
    for option in options:
        more: dict[str, Any] = {"dest": option.dest, "help": option.help}
        if option.required and not required:
            more["help"] = f"{option.help} (required)"
        if option.kind is OptionKind.FLAG:
            action = argparse.BooleanOptionalAction
            command.add_argument(option.long, action=action, **more)
            continue
        if option.kind is OptionKind.CHOICE:
            more |= {"choices": option.choices, "metavar": "|".join(option.choices)}
        else:
            more["metavar"] = _METAVARS[option.kind]
        if option.kind in _SEVERAL:
            more["action"] = "append"
        command.add_argument(option.long, required=option.required and required, **more)


def add_target(command: argparse.ArgumentParser) -> None:
    """Add the options that say which Ostiary is meant, with which right, and how to print."""
    add_connection(command)
    command.add_argument(
        "--output",
        choices=("table", "json"),
        default="table",
        metavar="table|json",
        help="form (table)",
    )


def add_connection(command: argparse.ArgumentParser) -> None:
    """Add the options that say which Ostiary is meant, and with which right."""
    command.add_argument(
        "--url",
        metavar="URL",
        help="of the console (default: OSTIARY_URL, else the one on this machine)",
    )
    command.add_argument(
        "--token-file",
        metavar="FILE",
        help="with a management token (default: OSTIARY_TOKEN_FILE, else OSTIARY_TOKEN is the token)",
    )
    command.add_argument(
        "--ca", metavar="FILE", help="PEM certificates to trust instead (default: OSTIARY_CA)"
    )


def identifier(text: str) -> str:
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise argparse.ArgumentTypeError(f"must be an id, a number, not {text!r}")
    return text


def named(text: str) -> str:
    """An id, or a key of an owner's own."""
    if not text or len(text) > 600 or (text.isdigit() and len(text) > 10):
        raise argparse.ArgumentTypeError(f"must be an id or a key, not {text[:80]!r}")
    return text


def limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return int(text)
