"""`ostiary config`: an Ostiary's configuration as a folder of files, planned and applied on the server."""

import contextlib
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ostiary.cli.commands.objects import connected
from ostiary.cli.failure import Failure
from ostiary.cli.files import deck, loading, plan_text, writing
from ostiary.cli.files.loading import Loaded
from ostiary.cli.remote.management_api import ApiRefusal, ManagementApi
from ostiary.cli.remote.secret_files import SecretFile
from ostiary.settings import Settings

#: Exit status of `plan` and `drift`: there are changes.
CHANGES = 2


def export(arguments: Namespace, settings: Settings) -> None:
    """Write a project to a folder."""
    with connected(arguments, settings) as api:
        query: dict[str, str | int] = {"set": arguments.set}
        if arguments.project_id is not None:
            query["project_id"] = arguments.project_id
        content = api.call("GET", "v2/configuration", query=query)["data"]
        schema = api.call("GET", "v2/configuration/schema")["data"]
    number = writing.write(
        Path(arguments.folder), content, f"{json.dumps(schema, indent=2)}\n",
        overwrite=arguments.overwrite,
    )  # fmt: skip
    sys.stdout.write(f"{number} files written to {arguments.folder}\n")


def schema(arguments: Namespace, settings: Settings) -> None:
    """Print the JSON Schema of the files."""
    with connected(arguments, settings) as api:
        found = api.call("GET", "v2/configuration/schema")["data"]
    sys.stdout.write(f"{json.dumps(found, indent=2)}\n")


def plan(arguments: Namespace, settings: Settings) -> None:
    """Show what a folder changes; exit with CHANGES if it is anything."""
    loaded = loading.load(Path(arguments.folder))
    with connected(arguments, settings) as api:
        made = _planned(api, arguments, loaded)
    if arguments.out:
        _store(Path(arguments.out), made)
    sys.stdout.write(_in_form(arguments.output, made, loaded))
    if made["blocked"]:
        raise Failure("The plan can't be applied.")
    if made["changes"]:
        raise SystemExit(CHANGES)


def drift(arguments: Namespace, settings: Settings) -> None:
    """Show what was changed beside the files since they were applied; exit with CHANGES if anything."""
    loaded = loading.load(Path(arguments.folder))
    with connected(arguments, settings) as api:
        made = _planned(api, arguments, loaded)
    made["changes"] = [
        {**each, "fields": [f for f in each["fields"] if f["drifted"]]}
        for each in made["changes"]
        if any(f["drifted"] for f in each["fields"])
    ]
    sys.stdout.write(
        f"{json.dumps(made['changes'], indent=2)}\n"
        if arguments.output == "json"
        else plan_text.drift(made)
    )
    if made["changes"]:
        raise SystemExit(CHANGES)


def apply(arguments: Namespace, settings: Settings) -> None:
    """Apply a folder, or a plan that was stored; asks first on a terminal."""
    source = Path(arguments.source)
    if source.is_file():
        _apply_stored(arguments, settings, source)
        return
    loaded = loading.load(source)
    with connected(arguments, settings) as api:
        made = _planned(api, arguments, loaded)
        sys.stdout.write(_in_form("text", made, loaded))
        if made["blocked"]:
            raise Failure("The plan can't be applied.")
        # An adopted or unchanged set is applied as well: from then on, drift is told from it.
        if made["changes"]:
            _agree(arguments)
        _finish(api, arguments, made, loaded)


def _apply_stored(arguments: Namespace, settings: Settings, source: Path) -> None:
    try:
        stored = json.loads(source.read_text(encoding="utf-8"))
        number, folder = int(stored["id"]), arguments.folder
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        raise Failure(f"{source} is neither a folder nor a plan that `plan --out` wrote.") from None
    loaded = loading.load(Path(folder)) if folder else Loaded()
    with connected(arguments, settings) as api:
        made = api.call("GET", f"v2/plans/{number}")["data"]
        if made["digest"] != stored.get("digest"):
            raise Failure(f"{source} is not the plan {number} of this Ostiary.")
        sys.stdout.write(_in_form("text", made, loaded))
        _agree(arguments)
        _finish(api, arguments, made, loaded)


def convert(arguments: Namespace, settings: Settings) -> None:
    """Convert another gateway's configuration to files, and print what has no counterpart."""
    made = deck.convert(
        deck.read(Path(arguments.file)), set_name=arguments.set, project=arguments.project
    )
    number = writing.write(Path(arguments.out), made.content, None, overwrite=arguments.overwrite)
    sys.stdout.write(f"{number} files written to {arguments.out}\n")
    if made.report:
        sys.stdout.write("Without a counterpart, or to be looked at:\n")
        sys.stdout.writelines(f"- {line}\n" for line in made.report)


def _planned(api: ManagementApi, arguments: Namespace, loaded: Loaded) -> dict[str, Any]:
    body: dict[str, object] = {"configuration": loaded.content, "secrets": loaded.secrets}
    for name in ("delete", "adopt", "most_deleted"):
        if (value := getattr(arguments, name, None)) is not None:
            body[name] = value
    try:
        made: dict[str, Any] = api.call("POST", "v2/plans", body=body)["data"]
    except ApiRefusal as refused:
        raise Failure(_with_places(refused, loaded)) from None
    return made


def _with_places(refused: ApiRefusal, loaded: Loaded) -> str:
    """A refusal with files and lines for places in the configuration."""
    return refused.text(lambda place: loaded.named(place.removeprefix("configuration.")))


def _agree(arguments: Namespace) -> None:
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise Failure("Nothing was applied: on no terminal, say --yes.")
    sys.stdout.write("Apply this? Type yes: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() != "yes":
        raise Failure("Nothing was applied.")


def _finish(
    api: ManagementApi, arguments: Namespace, made: Mapping[str, Any], loaded: Loaded
) -> None:
    name = arguments.secrets_file
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(SecretFile(name)) if name else None
        try:
            body = {"secrets": loaded.secrets, "commit": arguments.commit}
            done = api.call("POST", f"v2/plans/{made['id']}/apply", body=body)["data"]
        except ApiRefusal as refused:
            raise Failure(_with_places(refused, loaded)) from None
        if file is not None and done["issued"]:
            file.write(json.dumps(done["issued"], indent=2))
    sys.stdout.write("\n".join([*_lines_of(done, name), ""]))


def _lines_of(done: Mapping[str, Any], secrets_file: str | None) -> Iterator[str]:
    yield from (f"Note: {each}" for each in done["warnings"])
    receipt = done["revocation"]
    if receipt is None:
        yield "Applied; the gateway has not confirmed it yet."
    elif receipt["of"]:
        yield f"Applied, and in force on {receipt['confirmed']} of {receipt['of']} gateways."
    else:
        yield "Applied."
    if done["issued"] and secrets_file is not None:
        yield f"{len(done['issued'])} new credentials are in {secrets_file}."
    for each in done["issued"] if secrets_file is None else ():
        oauth = f"{each['oauth_client_id']} " if each["oauth_client_id"] else ""
        if each["webhook"] is not None:
            yield f"Key of the webhook {each['webhook']}: {each['secret']}"
            continue
        yield f"Credential of {each['client']}/{each['access_profile']}: {oauth}{each['secret']}"
    if done["issued"] and secrets_file is None:
        yield "They are shown this once."


def _store(path: Path, made: Mapping[str, Any]) -> None:
    try:
        path.write_text(f"{json.dumps(made, indent=2)}\n", encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}.") from None


def _in_form(output: str, made: Mapping[str, Any], loaded: Loaded) -> str:
    if output == "json":
        return f"{json.dumps(made, indent=2)}\n"
    if output == "markdown":
        return plan_text.markdown(made, loaded)
    return plan_text.plain(made, loaded)
