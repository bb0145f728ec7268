"""The subcommands that manage what the management API has: each is one or more of its calls."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from ostiary.cli.failure import Failure
from ostiary.cli.remote import management_api, object_keys, output, values
from ostiary.cli.remote.management_api import ApiRefusal, ManagementApi
from ostiary.cli.remote.nouns.declarations import AnswerForm, RemoteOperation
from ostiary.cli.remote.nouns.people import TOKEN
from ostiary.cli.remote.secret_files import SecretFile
from ostiary.cli.startup import addresses
from ostiary.settings import Settings

PER_PAGE = 100
#: Seconds between two looks for new calls, and the seconds that a line may come late.
PAUSE, LATE = 2.0, 15
#: Request ids that are remembered, so that a call is printed once.
REMEMBERED = 10_000


def connected(arguments: argparse.Namespace, settings: Settings) -> ManagementApi:
    """The API that is named, or else that of the Ostiary on this machine; raises Failure."""
    url = arguments.url or settings.client.url
    if not url:
        here = addresses.read(settings)
        url = here.public_console or here.console
    if url.startswith("http://") and not _is_here(url):
        sys.stderr.write(f"ostiary: the token goes to {url} without encryption; use https.\n")
    token, file = settings.client.token, arguments.token_file or settings.client.token_file
    if not (file or token):
        raise Failure(
            f"{url} wants a management token: name its file by --token-file or OSTIARY_TOKEN_FILE, or set"
            " OSTIARY_TOKEN. On its machine, `ostiary token create` makes one."
        )
    return management_api.connected(
        url, token=token, token_file=file, certificates=arguments.ca or settings.client.ca
    )


def _is_here(url: str) -> bool:
    host = url.removeprefix("http://").partition("/")[0]
    return host.rpartition(":")[0] in {"localhost", "127.0.0.1", "[::1]"} or host == "localhost"


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Carry out the operation that was parsed; raises Failure."""
    operation: RemoteOperation = arguments.operation
    now = datetime.now(UTC)
    with connected(arguments, settings) as api:
        object_keys.resolve(api, arguments.noun, operation, arguments)
        path, query = values.path(operation, arguments), values.query(operation, arguments, now)
        body = values.body(operation, arguments, now)
        if operation is TOKEN.of("create") and body is not None:
            body["admin"] = "role" not in body
            if arguments.never_expires:
                body["expires_at"] = None
        if operation.form is AnswerForm.LIST:
            _list(api, arguments, path, query)
            return
        with contextlib.ExitStack() as stack:
            name = getattr(arguments, "secret_file", None)
            file = stack.enter_context(SecretFile(name)) if name else None
            try:
                answer = api.call(operation.method, path, body=body, query=query)
            except ApiRefusal as refused:
                # Saved, though not in force yet: the secret is shown this once.
                if _secret_of(refused.content):
                    _show(arguments, refused.content, file)
                raise
            _show(arguments, answer, file)
            if isinstance(answer, Mapping) and output.unwrapped(answer).get("good") is False:
                raise Failure("The test failed; see the step that is not good.")


def show_made(arguments: argparse.Namespace, make: Callable[[], str]) -> None:
    """Make something on this machine itself, and print or write what is shown this once."""
    with contextlib.ExitStack() as stack:
        name = arguments.secret_file
        file = stack.enter_context(SecretFile(name)) if name else None
        secret = make()
        if file is not None:
            file.write(secret)
        elif arguments.output == "json":
            sys.stdout.write(output.json_text({"secret": secret}))
        else:
            sys.stdout.write(f"{secret}\n")


def _show(arguments: argparse.Namespace, answer: Any, file: SecretFile | None) -> None:
    operation: RemoteOperation = arguments.operation
    secret, shown = _secret_of(answer), output.unwrapped(answer)
    if secret and file is not None:
        file.write(secret)
        shown = _without(shown)
    _remark(answer, shown)
    if arguments.output == "json" or operation.form is AnswerForm.DOCUMENT:
        link = answer.get("sign_in_link") if isinstance(answer, Mapping) else None
        more = {"sign_in_link": link} if link and file is None else {}
        sys.stdout.write(output.json_text({**shown, **more} if more else shown))
    elif operation.form is AnswerForm.SECRET and file is None:
        sys.stdout.write(f"{secret}\n")
    elif operation.form is AnswerForm.DONE:
        sys.stdout.write("Done.\n")
    elif isinstance(shown, Mapping):
        sys.stdout.write(output.object_text(shown))
    if secret:
        where = f"is in {arguments.secret_file}" if file is not None else "is shown only now"
        sys.stderr.write(f"The secret {where}; it can't be read again.\n")


def _remark(answer: Any, shown: Any) -> None:
    """Say on standard error what is beside the object: warnings, and the receipt of a revocation."""
    for each in (answer, shown if shown is not answer else None):
        if not isinstance(each, Mapping):
            continue
        for warning in each.get("warnings") or ():
            sys.stderr.write(f"Warning: {warning}\n")
        receipt = each.get("revocation")
        if isinstance(receipt, Mapping) and receipt.get("of"):
            sys.stderr.write(
                f"In force: {receipt['confirmed']} of {receipt['of']} gateways confirmed it in"
                f" {receipt['ms']:.0f} ms.\n"
            )


def _secret_of(answer: Any) -> str:
    """The secret of an answer that is shown this once; empty: there is none."""
    shown = output.unwrapped(answer)
    link = answer.get("sign_in_link") if isinstance(answer, Mapping) else None
    if isinstance(link, Mapping):
        return str(link["url"])
    if not isinstance(shown, Mapping):
        return ""
    return next((str(shown[name]) for name in output.SECRETS if shown.get(name)), "")


def _without(shown: Any) -> Any:
    return {name: value for name, value in shown.items() if name not in output.SECRETS}


# --- lists


def _list(
    api: ManagementApi, arguments: argparse.Namespace, path: str, query: dict[str, str]
) -> None:
    operation: RemoteOperation = arguments.operation
    if getattr(arguments, "follow", False):
        _follow(api, arguments, path, query)
        return
    pages = _pages(api, path, query) if operation.paged else _by_cursor(api, path, query)
    rows: list[dict[str, Any]] = []
    more = False
    for row in pages:
        if arguments.limit and len(rows) == arguments.limit:
            more = True
            break
        rows.append(row)
    if operation.verb == "logs":
        # As a log reads: the latest is the last.
        rows.reverse()
    sys.stdout.write(
        output.json_text(rows)
        if arguments.output == "json"
        else output.rows_text(rows, operation.columns)
    )
    if more:
        sys.stderr.write(f"There are more than {arguments.limit}; --limit 0 shows all.\n")


def _pages(api: ManagementApi, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        asked: dict[str, str | int] = {**query, "page": page, "per_page": PER_PAGE}
        found = output.unwrapped(api.call("GET", path, query=asked))
        yield from found
        if len(found) < PER_PAGE:
            return
        page += 1


def _by_cursor(api: ManagementApi, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        answer = api.call("GET", path, query={**query, "cursor": cursor, "per_page": PER_PAGE})
        yield from answer["data"]
        cursor = answer["next_cursor"]
        if not cursor:
            return


def _follow(
    api: ManagementApi, arguments: argparse.Namespace, path: str, query: dict[str, str]
) -> None:
    """Print calls as they are logged, each once, until somebody interrupts it."""
    columns, seen = arguments.operation.columns, dict[str, None]()
    since = query.pop("from", None) or datetime.now(UTC).isoformat()
    latest = since
    if arguments.output == "table":
        sys.stdout.write(output.rows_text([], columns))
    while True:
        found = list(_by_cursor(api, path, {**query, "from": _before(latest, since)}))
        for call in reversed(found):
            if call["request_id"] in seen:
                continue
            seen[call["request_id"]] = None
            latest = max(latest, call["time"])
            sys.stdout.write(_line(call, arguments))
        sys.stdout.flush()
        for old in list(seen)[:-REMEMBERED]:
            del seen[old]
        time.sleep(PAUSE)


def _before(latest: str, since: str) -> str:
    """A bit before the latest call: parts write their lines one after the other."""
    start = datetime.fromisoformat(latest).timestamp() - LATE
    return datetime.fromtimestamp(
        max(start, datetime.fromisoformat(since).timestamp()), UTC
    ).isoformat()


def _line(call: Mapping[str, Any], arguments: argparse.Namespace) -> str:
    if arguments.output == "json":
        return output.json_line(call)
    return "  ".join(output.cell(call.get(name)) for name in arguments.operation.columns) + "\n"


# --- what needs more than one call


def link_member(arguments: argparse.Namespace, settings: Settings) -> None:
    """Print a new one-time sign-in link of the member with an address."""
    with connected(arguments, settings) as api:
        address = arguments.email.strip().lower()
        number = next(
            (each["id"] for each in _pages(api, "v2/members", {}) if each["email"] == address), None
        )
        if number is None:
            raise Failure(f"There is no member {arguments.email}.")
        made = api.call("POST", f"v2/members/{number}/sign_in_link")["data"]
    sys.stdout.write(output.json_text(made) if arguments.output == "json" else f"{made['url']}\n")


def explain(arguments: argparse.Namespace, settings: Settings) -> None:
    """Say why a call was refused or admitted."""
    with connected(arguments, settings) as api:
        found = api.call("POST", "v2/explain", body={"request_id": arguments.id})["data"]
    sys.stdout.write(
        output.json_text(found)
        if arguments.output == "json"
        else "\n".join([*_explained(found), ""])
    )


def _explained(found: Mapping[str, Any]) -> Iterator[str]:
    reason = f" ({found['reason']})" if found["reason"] else ""
    yield f"{found['verdict'].capitalize()}{reason}. {found['what']}"
    if found["remedy"]:
        yield found["remedy"]
    if found["access_profile_id"] is not None:
        yield f"Access profile {found['access_profile_id']}"
    yield ""
    for step in found["steps"]:
        yield f"{step['outcome'].replace('_', ' '):<12}  {step['question']}"
        yield from (f"{'':<14}{name}: {value}" for name, value in step["inputs"].items())
    changes = found["changes_since"]
    yield f"\nChanged since then: {len(changes) or 'nothing that the decision depends on'}"
    for event in changes:
        yield f"  {event['at']}  {event['actor_name']}: {event['action']} {event['target_name']}"
    if found["now"] is not None:
        yield f"The same call now: {found['now']['verdict']}. {found['now']['what']}"
