"""The `ostiary` command: parses its arguments, and reports every failure in one sentence."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ostiary import __version__
from ostiary import settings as environment
from ostiary.cli.failure import Failure
from ostiary.cli.remote import grammar
from ostiary.settings import Bind, Settings, SettingsError, bind_text, parse_bind

Command = Callable[[argparse.Namespace, Settings], None]

DESCRIPTION = "Self-hosted access control for API owners."
#: Exit statuses: a failure, and wrong arguments.
FAILED, WRONG_USE = 1, 2


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence. Options are written out: scripts keep their meaning."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USE, f"{self.prog}: {message}; see {self.prog} --help\n")


def run_role(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import up

    up.run(
        arguments.command,
        settings,
        demo=getattr(arguments, "demo", False),
        print_secrets=getattr(arguments, "print_secrets", False),
    )


def restart(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import restart as command

    command.run(settings)


def manage(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import accounts, objects

    here = accounts.HERE.get((getattr(arguments.noun, "name", ""), arguments.operation.verb))
    if here is None or is_remote(arguments, settings):
        objects.run(arguments, settings)
    else:
        objects.show_made(arguments, lambda: here(settings, arguments))


def is_remote(arguments: argparse.Namespace, settings: Settings) -> bool:
    """Whether an Ostiary is named; else what can work without a token does, with this machine's."""
    return bool(arguments.url or arguments.token_file or settings.client.url)


def import_credentials(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import credential_import

    credential_import.run(arguments, settings)


def complete(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import completion

    sys.stdout.write(completion.script(parser(), arguments.shell))


def link_member(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import accounts, objects

    if is_remote(arguments, settings):
        if arguments.reset_second_factor:
            raise Failure("--reset-second-factor works on the machine itself alone, without --url.")
        objects.link_member(arguments, settings)
        return
    reset = arguments.reset_second_factor
    print_secret(accounts.link_member(settings, email=arguments.email, reset_second_factor=reset))


def protect(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import protection

    protection.run(arguments, settings)


def seed(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import accounts

    accounts.seed(
        settings,
        profiles=arguments.profiles,
        per_client=arguments.per_client,
        days=arguments.usage,
    )


def explain(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import explain, objects

    if is_remote(arguments, settings):
        objects.explain(arguments, settings)
        return
    sys.stdout.write(f"{explain.explained(settings, request_id=arguments.id)}\n")


def doctor(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import doctor

    findings = doctor.examined(settings)
    sys.stdout.write(doctor.shown(findings, as_json=arguments.json))
    if doctor.is_ill(findings):
        raise SystemExit(FAILED)


def back_up(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import backups

    backups.back_up(settings, arguments.file, with_keys=not arguments.without_keys)


def restore(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import backups

    backups.restore(settings, arguments.file, keys=arguments.keys)


def health(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import health as command

    sys.stdout.write(f"{command.check(settings)} answers\n")


def configure(arguments: argparse.Namespace, settings: Settings) -> None:
    from ostiary.cli.commands import configuration

    getattr(configuration, arguments.action)(arguments, settings)


def print_secret(text: str) -> None:
    """Print only the requested value on standard output."""
    sys.stdout.write(f"{text}\n")


def bind(text: str) -> Bind:
    try:
        return parse_bind(text, "the value")
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 10000000, not {text!r}")
    return int(text)


def days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 400:
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to 400, not {text!r}")
    return int(text)


def parser() -> Parser:
    """The parser of the command and its subcommands."""
    top = Parser(prog="ostiary", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"ostiary {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = _command(commands, "up", run_role, "run everything in the foreground")
    _gateway_options(up)
    _control_options(up)
    _recipes_options(up)
    up.add_argument("--demo", action="store_true", help="on the first start, set up a demo")
    up.add_argument(
        "--print-secrets",
        action="store_true",
        help="print the demo's sign-in link and token where no terminal is, too",
    )
    role = _command(commands, "control", run_role, "run console and management API alone")
    _control_options(role)
    role = _command(commands, "gateway", run_role, "run a gateway alone (nginx and authority)")
    _gateway_options(role)
    role = _command(commands, "recipes", run_role, "run the recipe runner alone")
    _recipes_options(role)
    _command(commands, "restart", restart, "restart what runs, without refusing a call")
    examining = _command(commands, "doctor", doctor, "check the set-up and say what to correct")
    examining.add_argument("--json", action="store_true", help="print a list of objects")
    _command(commands, "health", health, "exit with 0 if what runs answers")
    _backup_commands(commands)
    _protection_command(commands)
    _managing_commands(commands)
    _configuration_commands(commands)
    seeding = _command(commands, "seed", seed, "fill an empty folder with a made-up population")
    seeding.add_argument("--profiles", type=count, required=True, metavar="N", help="how many")
    seeding.add_argument(
        "--usage", type=days, default=0, metavar="DAYS", help="with usage of the last days"
    )
    seeding.add_argument(
        "--per-client", type=count, default=10, metavar="N", help="profiles of each client (10)"
    )
    explaining = _command(commands, "explain", explain, "say why a call was refused or admitted")
    explaining.add_argument("id", metavar="ID", help="the call's request id")
    grammar.add_target(explaining)
    completing = _command(
        commands, "completion", complete, "print a script that completes commands"
    )
    completing.add_argument("shell", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return top


def _backup_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    text = "write database, key ring and recipes to one file, also while Ostiary runs"
    backing_up = _command(commands, "backup", back_up, text)
    _recipes_options(backing_up)
    backing_up.add_argument("file", type=Path, metavar="FILE", help="a new file")
    backing_up.add_argument(
        "--without-keys", action="store_true", help="leave the key ring out, to keep it elsewhere"
    )
    text = "make a data folder from a backup; replaces nothing"
    restoring = _command(commands, "restore", restore, text)
    _recipes_options(restoring)
    restoring.add_argument("file", type=Path, metavar="FILE", help="what `ostiary backup` wrote")
    restoring.add_argument(
        "--keys", type=Path, metavar="FILE", help="the key ring, if the backup has none"
    )


def _protection_command(commands: "argparse._SubParsersAction[Parser]") -> None:
    protecting = _command(commands, "protect", protect, "put your own API behind the gateway")
    protecting.add_argument(
        "api", metavar="URL", help="its base URL, such as http://127.0.0.1:9000"
    )
    protecting.add_argument("--name", metavar="NAME", help="its name (default: its host)")
    protecting.add_argument(
        "--openapi", metavar="FILE", help="its OpenAPI document, whose operations become endpoints"
    )
    protecting.add_argument(
        "--ca-file", metavar="FILE", help="PEM certificates of a private authority to trust"
    )
    protecting.add_argument("--path", metavar="PATH", help="the path of the first request (/)")
    protecting.add_argument(
        "--print-secrets", action="store_true", help="print the token where no terminal is, too"
    )
    protecting.add_argument(
        "--secret-file",
        metavar="FILE",
        help="write the token there (mode 0600), not to the terminal",
    )


def _managing_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    """What the management API has, and the commands that work on the machine itself without it."""
    groups = grammar.add(commands, lambda group, name, text: _command(group, name, manage, text))
    groups["token"].choices["create"].add_argument(
        "--never-expires", action="store_true", help="make a token that works until it is revoked"
    )
    importing = _command(
        commands, "import-credentials", import_credentials, "import credentials from a CSV file"
    )
    importing.add_argument("file", metavar="FILE", help="CSV file (- for standard input)")
    importing.add_argument(
        "--apply", action="store_true", help="save it; otherwise only say what would be made"
    )
    importing.add_argument(
        "--create-clients", action="store_true", help="make the clients that are not there yet"
    )
    importing.add_argument(
        "--project-id",
        type=grammar.identifier,
        metavar="N",
        help="id of the project (default: Home)",
    )
    grammar.add_target(importing)
    link = _command(groups["member"], "link", link_member, "print a new one-time sign-in link")
    grammar.add_target(link)
    link.add_argument("--email", required=True, metavar="E", help="the member's address")
    link.add_argument(
        "--reset-second-factor", action="store_true", help="remove a second factor that was lost"
    )


class ConfigParser(Parser):
    """A parser whose wrong use is a failure: 2 means that there are changes."""

    def error(self, message: str) -> NoReturn:
        self.exit(FAILED, f"{self.prog}: {message}; see {self.prog} --help\n")


def _configuration_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    text = "configuration as files, planned and applied on the server"
    group = commands.add_parser("config", help=text, description=_sentence(text))
    actions = group.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=ConfigParser
    )
    exporting = _remote(actions, "export", "write a project to a folder of files")
    exporting.add_argument("folder", metavar="DIR")
    exporting.add_argument("--project-id", type=count, metavar="N", help="default: Home")
    exporting.add_argument(
        "--set", default="main", metavar="NAME", help="whose files they are (main)"
    )
    exporting.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    text = "show what a folder changes; exit with 2 if anything"
    planning = _remote(actions, "plan", text, ("text", "json", "markdown"))
    planning.add_argument("folder", metavar="DIR")
    _plan_options(planning)
    planning.add_argument("--out", metavar="FILE", help="store the plan, to apply exactly this one")
    applying = _remote(actions, "apply", "apply a folder, or a stored plan")
    applying.add_argument("source", metavar="DIR|PLAN")
    _plan_options(applying)
    applying.add_argument(
        "--folder", metavar="DIR", help="with a stored plan: where secrets are named"
    )
    applying.add_argument("--yes", action="store_true", help="do not ask")
    applying.add_argument("--commit", default="", metavar="ID", help="where the files come from")
    applying.add_argument(
        "--secrets-file", metavar="FILE", help="write new credentials there, not to the terminal"
    )
    text = "show changes beside the files; exit with 2 if any"
    drifting = _remote(actions, "drift", text, ("text", "json"))
    drifting.add_argument("folder", metavar="DIR")
    _remote(actions, "schema", "print the JSON Schema of the files")
    text = "write another gateway's configuration as files"
    converting = actions.add_parser("convert", help=text, description=_sentence(text))
    converting.set_defaults(do=configure, data=None)
    converting.add_argument("form", choices=("deck",), help="deck: Kong's declarative file")
    converting.add_argument("file", metavar="FILE")
    converting.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    converting.add_argument(
        "--set", default="main", metavar="NAME", help="whose files they are (main)"
    )
    converting.add_argument(
        "--project", default="Home", metavar="NAME", help="key or name of the project (Home)"
    )
    converting.add_argument("--overwrite", action="store_true", help="replace what was converted")


def _plan_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--delete", action="store_true", help="delete what the set has and the files do not"
    )
    command.add_argument(
        "--most-deleted", type=int, metavar="N", help="how many objects may be deleted (5)"
    )
    command.add_argument(
        "--adopt", action="store_true", help="take over objects that belong to no set"
    )


def _remote(
    actions: "argparse._SubParsersAction[ConfigParser]",
    name: str,
    text: str,
    forms: Sequence[str] = (),
) -> ConfigParser:
    command = actions.add_parser(name, help=text, description=_sentence(text))
    command.set_defaults(do=configure)
    command.add_argument("--data", metavar="DIR", help="data folder (default: ./ostiary-data)")
    grammar.add_connection(command)
    if forms:
        form = f"form ({forms[0]})"
        command.add_argument("--output", choices=forms, default=forms[0], help=form)
    return command


def _command(
    commands: "argparse._SubParsersAction[Parser]", name: str, do: Command, text: str
) -> Parser:
    command = commands.add_parser(name, help=text, description=_sentence(text))
    command.set_defaults(do=do)
    command.add_argument("--data", metavar="DIR", help="data folder (default: ./ostiary-data)")
    return command


def _gateway_options(command: Parser) -> None:
    command.add_argument(
        "--gateway-bind", type=bind, metavar="HOST:PORT", help="default: 127.0.0.1:8080"
    )


def _control_options(command: Parser) -> None:
    command.add_argument(
        "--control-bind", type=bind, metavar="HOST:PORT", help="default: 127.0.0.1:8000"
    )


def _recipes_options(command: Parser) -> None:
    command.add_argument(
        "--recipes", metavar="DIR", help="folder of recipes (default: recipes in the data folder)"
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def effective(arguments: argparse.Namespace) -> Settings:
    """The settings of the environment, replaced by the options; raises SettingsError."""
    given = {
        "OSTIARY_DATA": arguments.data,
        "OSTIARY_RECIPES": getattr(arguments, "recipes", None),
        "OSTIARY_GATEWAY_BIND": _text(getattr(arguments, "gateway_bind", None)),
        "OSTIARY_CONTROL_BIND": _text(getattr(arguments, "control_bind", None)),
    }
    settings = environment.adopt(**{k: v for k, v in given.items() if v is not None})
    # Parts must use the same folder, whatever their working directory is.
    return environment.adopt(OSTIARY_DATA=str(settings.data), OSTIARY_RECIPES=str(settings.recipes))


def _text(value: Bind | None) -> str | None:
    return None if value is None else bind_text(value)


def _wrong_settings(error: SettingsError, *, as_json: bool) -> int:
    """The doctor's report if the settings are wrong: nothing else can be checked."""
    from ostiary.cli.commands import doctor

    sys.stdout.write(doctor.shown([doctor.wrong_settings(error)], as_json=as_json))
    return FAILED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = parser().parse_args(argv)
    try:
        settings = effective(arguments)
    except SettingsError as error:
        if arguments.command == "doctor":
            return _wrong_settings(error, as_json=arguments.json)
        sys.stderr.write(f"ostiary: {error}\n")
        return WRONG_USE
    try:
        arguments.do(arguments, settings)
    except Failure as failure:
        sys.stderr.write(f"ostiary: {failure}\n")
        return FAILED
    except KeyboardInterrupt:
        return 128 + 2
    except BrokenPipeError:
        # Whoever reads our output has enough of it, as `head` has; nothing more is written at the exit.
        sys.stdout = None
        return 0
    return 0
