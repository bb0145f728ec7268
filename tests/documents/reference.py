"""Writes the reference of docs/ from the code: `scripts/reference`. A test fails if a page is stale.

Each page is one function that returns the page's text; what it says stands beside the code that it is
about: settings in their declarations, options in the command's grammar, operations in the OpenAPI document.
"""

import argparse
import importlib
import importlib.util
import itertools
import json
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, Metric
from prometheus_client.metrics import MetricWrapperBase

import ostiary
from ostiary.access.reasons import Party, Reason, describe
from ostiary.api.document import ServedDocument as OpenApi
from ostiary.api.error_codes import ERRORS, FIELDS
from ostiary.cli.main import parser
from ostiary.directory.webhooks.events import MEANINGS, EventType
from ostiary.gateway import statistics
from ostiary.operations.metrics import DRIFT, FEED_SEQUENCE, PART_UP
from ostiary.settings import CLIENT, NUMBERS, TEXTS, TextSetting

DOCS = Path(__file__).parents[2] / "docs"
WRITTEN = "<!-- Written by scripts/reference from the code. Change it there. -->"

Row = Sequence[str]


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _page(title: str, introduction: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", WRITTEN, introduction, *parts]) + "\n"


# --- settings -------------------------------------------------------------------------------------


def settings() -> str:
    """Every variable of the environment that Ostiary reads."""
    texts = _rows(TEXTS)
    numbers = [
        (f"`{name}`", f"{each.least:,} to {each.most:,}", f"{each.default:,}", each.meaning)
        for name, each in NUMBERS.items()
    ]
    head = ("variable", "value", "default", "meaning")
    return _page(
        "Settings",
        "Set these in the environment of `ostiary up`. Ostiary refuses an `OSTIARY_…` name that it does not know, "
        "so that a typing error never silently means the default. An empty value means the default. "
        "A change needs a stop and a start: `ostiary restart` keeps the environment.\n\n"
        "Public URLs, trusted proxies and retention are [settings of the workspace](workspace.md). "
        "What the ceilings do is in [Ceilings and memory](limits.md).",
        _table(head, texts),
        "## Numbers",
        _table(head, numbers),
    )


def _rows(named: Mapping[str, TextSetting]) -> list[Row]:
    return [
        (f"`{name}`", text.form, f"`{text.default}`" if text.default else text.unset, text.meaning)
        for name, text in named.items()
    ]


# --- the command ----------------------------------------------------------------------------------


def commands() -> str:
    """Every subcommand of `ostiary` with its options."""
    return _page(
        "Commands",
        "Every command takes `--help`. After `make up` the command is `.venv/bin/ostiary`. A command exits with 0 if it "
        "did what you asked, with 1 if it could not, and with 2 if it was called wrongly; then one "
        "sentence on standard error says why.",
        "## The command as a client",
        "Commands with `[client options]` are calls of the management API, and take these options and variables. "
        "[How to use them](../how-to/command.md).",
        _table(("option", "meaning"), [(f"`{_words(a)}`", _help(a)) for a in _client_options()]),
        _table(("variable", "value", "default", "meaning"), _rows(CLIENT)),
        *(_described(each) for each in dict.fromkeys(_leaves(parser()))),
    )


def _leaves(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [a for a in top._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield top
    for group in groups:
        for each in group.choices.values():
            yield from _leaves(each)


_OF_EVERY_CLIENT = ("data", "url", "token_file", "ca", "output")


def _client_options() -> list[argparse.Action]:
    some = next(each for each in _leaves(parser()) if each.get_default("operation"))
    return [action for action in some._actions if action.dest in _OF_EVERY_CLIENT]


def _described(command: argparse.ArgumentParser) -> str:
    actions = [a for a in command._actions if a.dest != "help"]
    client = command.get_default("operation") is not None
    if client:
        actions = [a for a in actions if a.dest not in _OF_EVERY_CLIENT]
    usage = " ".join(
        [command.prog, *(_usage(a) for a in actions), *(["[client options]"] if client else [])]
    )
    rows = [(f"`{_words(action)}`", _help(action)) for action in actions]
    return "\n\n".join(
        [f"## {command.prog}", f"{command.description}", f"```text\n{usage}\n```"]
        + [_table(("option", "meaning"), rows)]
    )


def _words(action: argparse.Action) -> str:
    if isinstance(action, argparse.BooleanOptionalAction):
        return "/".join(action.option_strings)
    value = "" if action.nargs == 0 else action.metavar or action.dest.upper()
    return " ".join(filter(None, [*action.option_strings[-1:], str(value)]))


def _usage(action: argparse.Action) -> str:
    return _words(action) if action.required else f"[{_words(action)}]"


def _help(action: argparse.Action) -> str:
    text = f"{action.help}"
    return f"{text[:1].upper()}{text[1:]}{' (required)' if action.required else ''}"


# --- refusals -------------------------------------------------------------------------------------


def reasons() -> str:
    """Every reason of a refusal, with what the caller sees and what the owner can do."""
    by_name: dict[str, list[Reason]] = {}
    for reason in Reason:
        by_name.setdefault(describe(reason).public.name, []).append(reason)
    table = [
        (
            ", ".join(str(s) for s in sorted({s for r in inner for s in describe(r).statuses})),
            f"`{public}`",
            describe(inner[0]).public.message,
            ", ".join(f"[`{reason}`](#{reason})" for reason in inner),
        )
        for public, inner in sorted(by_name.items(), key=lambda item: describe(item[1][0]).status)
    ]
    return _page(
        "Refusals",
        "A refused call is answered with JSON: `message`, `reason` and `request_id`. The caller sees a public reason, which "
        "never tells whether a credential, a client or a collection exists. Logs, usage and "
        "[Explain](../how-to/explain.md) show you the exact reason.",
        "## What the caller sees",
        _table(("status", "`reason`", "`message`", "exact reasons"), table),
        "Where a reason has several statuses, the status says what is wrong.",
        "## What it means, and what to do",
        *(_reason(reason) for reason in Reason),
    )


def _reason(reason: Reason) -> str:
    row = describe(reason)
    statuses = ", ".join(str(status) for status in row.statuses)
    shown = (
        f"Status {statuses}, code {row.code}. The caller sees `{row.public.name}`. "
        f"Usually resolved by the {_PARTIES[row.resolved_by]}."
    )
    return f"### {reason}\n\n{shown}\n\n{row.meaning}\n\n**What to do:** {row.remedy}"


_PARTIES = {
    Party.CONSUMER: "consumer",
    Party.OWNER: "owner of the client, profile or collection",
    Party.OPERATOR: "operator of Ostiary",
    Party.UPSTREAM: "operator of the upstream",
}


# --- webhook events -------------------------------------------------------------------------------


def webhook_events() -> str:
    """Every event that a webhook can get."""
    return _page(
        "Webhook events",
        "How to receive them, and how to verify their signature: [Receive webhooks](../how-to/webhooks.md).",
        _table(("event", "when"), [(f"`{kind}`", MEANINGS[kind]) for kind in EventType]),
    )


# --- metrics --------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric of `/metrics`."""
    rows = sorted(set(_families()))
    return _page(
        "Metrics",
        "`/metrics` on the control port has these, in Prometheus' text format. How to scrape it: "
        "[Monitor Ostiary](../how-to/monitor.md). A histogram has `_bucket`, `_sum` and `_count`.",
        _table(("metric", "type", "labels", "meaning"), rows),
    )


def _families() -> Iterator[tuple[str, str, str, str]]:
    for name in _modules_with("prometheus_client"):
        importlib.import_module(name)
    yield _family(Metric(*PART_UP, "gauge"), ("part",))
    yield _family(Metric(*FEED_SEQUENCE, "gauge"), ())
    yield _family(Metric(*DRIFT, "gauge"), ("project", "set"))
    for metric in statistics.families(_a_gateway()):
        yield _family(metric, _labels(metric))
    for collector in list(REGISTRY._collector_to_names):
        for metric in collector.collect():
            if metric.name.startswith("python_"):
                continue
            labels = _labels(metric)
            if isinstance(collector, MetricWrapperBase):
                labels = collector._labelnames
            yield _family(metric, labels)


def _modules_with(word: str) -> Iterator[str]:
    for found in pkgutil.walk_packages(ostiary.__path__, "ostiary."):
        spec = importlib.util.find_spec(found.name)
        if spec and spec.origin and word in Path(spec.origin).read_text():
            yield found.name


def _labels(metric: Metric) -> Sequence[str]:
    """The labels of a metric that has samples, less the one that every histogram has."""
    labels = dict.fromkeys(itertools.chain.from_iterable(each.labels for each in metric.samples))
    return [label for label in labels if label != "le"]


def _family(metric: Metric, labels: Sequence[str]) -> tuple[str, str, str, str]:
    if metric.name.startswith("process_"):
        labels = ("part",)
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    return (
        f"`{name}`",
        metric.type,
        ", ".join(f"`{label}`" for label in labels),
        metric.documentation.strip(),
    )


def _a_gateway() -> statistics.GatewayState:
    """A gateway of which each metric has a value."""
    some = {"x": 1}
    return statistics.GatewayState(
        birth="", version="", started=0, applied=0, floor=0, master=1, workers={1: 0.0},
        connections=some, answers=some, bytes=some, evicted_leases=0, upcalls=some,
        dictionaries={"leases": statistics.Dictionary(capacity=1, free=1)},
        upstream_errors=some, ceilings=some, heads_unbounded=0, streams=0, unpushed=0,
    )  # fmt: skip


# --- the management API ---------------------------------------------------------------------------

ServedDocument = Mapping[str, Any]
#: Errors that every operation can be answered with are said once.
_USUAL = {
    "unauthorized", "invalid_input", "too_many_calls", "server_error", "not_in_force",
    "database_unavailable",
}  # fmt: skip


def _document() -> ServedDocument:
    return OpenApi("http://localhost:8000")


def api() -> str:
    """Every operation of the management API."""
    document = _document()
    tagged: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags = operation.get("tags") or ["Other"]
            tagged.setdefault(tags[0], []).append(_operation(method.upper(), path, operation))
    return _page(
        "Management API",
        "Send a management token as `Authorization: Bearer` with every call. Bodies are JSON. The same is at `/api/openapi.json` as an "
        "OpenAPI document. [Objects](api-objects.md) has the fields.\n\n"
        "The answer for one object has an `ETag`; any call for the object with "
        "`If-Match` is refused (412) if somebody else changed it meanwhile, and a GET with `If-None-Match` is answered 304 if nothing did. HEAD "
        "is answered wherever GET is.\n\n"
        "PUT changes the fields that are sent and no others. Null takes away what may be empty. What a GET answered can be sent back with one "
        "field changed: fields that nobody can change are accepted as they are shown. A PUT that changes nothing leaves no trace. Unknown "
        "parameters and fields, and names that stand twice in an object, are refused by name. Bodies are read as JSON whatever `Content-Type` "
        "says. Whatever takes a right away answers with a receipt, `revocation`: the gateways that have confirmed it.",
        "## Lists",
        _LISTS,
        "## Calls that are safe to repeat",
        _REPEATS,
        "## Errors",
        "An error has a `message` for people and a `code` for programs. [Errors](errors.md) has every code with its remedy. Every operation "
        f"can be answered with {_codes(sorted(_USUAL))}; others are named beside it.",
        *(f"## {tag}\n\n" + "\n\n".join(each) for tag, each in tagged.items()),
    )


_LISTS = """Every list takes the same parameters, and each says below which filters and orders it has.

| parameter | meaning |
|---|---|
| `page`, `per_page` | From 1; at most 100 rows, which is also the default. |
| `cursor` | In place of `page`: the rows after those that gave it. Rows that are made or deleted meanwhile are neither shown twice nor left out, \
and the last page is as quick as the first. |
| `sort` | A column, with `-` from its end: `sort=-created_at`. Equal ones are sorted by id. |
| `search` | Rows with each of its words somewhere in their texts: name, description, key and the like. |
| `key` | The row with this key of your own. A collection's is its handle, an endpoint's its method and path: `GET /orders/{id}`. |
| `label` | Rows with a label, `label=team:payments`, or `label=team` for any value. Repeated: with all of them. |
| `created_after`, `updated_after` | Rows that were made, or changed, after a time. |

All filters together choose the rows. The answer has `X-Total-Count`, how many there are in all; `X-Next-Cursor`, if there are more; and `Link` \
(RFC 8288) with the addresses of other pages, so a client can follow `rel="next"` alone. Lists with `data` have them as `count` and `next_cursor` too.

Projects, folders, connections, clients, access profiles, policies, webhooks and address lists can have a `key`: small letters, digits, dots, \
underscores and hyphens, unique by kind and project. They, collections and endpoints can have `labels`, at most 32. A change replaces all labels; \
null takes key or labels away."""

_REPEATS = """Send an `Idempotency-Key` with a POST: 1 to 255 printable ASCII characters that you use for this call alone, such as a UUID. \
If no answer comes, send the same call with the same key again. It has one effect, whatever happened to the first: also while the first \
still runs, and if Ostiary was killed in between.

- A repeated call gets the first answer, with `Idempotent-Replayed: true` and with secrets masked (`********`).
- Another call with the same key (another path or body) is refused with 409. The order of fields in JSON makes no difference.
- Only a successful call uses its key up. A refused one changed nothing, and is decided again.
- Keys belong to the management token, and last 24 hours."""


def _operation(method: str, path: str, operation: ServedDocument) -> str:
    parts = [f"### {method} {path}", str(operation.get("description") or operation["summary"])]
    rows = [
        (f"`{each['name']}`", each["in"], _kind(each["schema"]), _field(each["schema"], each))
        for each in operation.get("parameters", ())
    ]
    if rows:
        parts.append(_table(("parameter", "in", "type", "meaning"), rows))
    for content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body ({content[0]}): {_kind(content[1].get('schema', {}))}.")
        if "example" in content[1]:
            shown = json.dumps(content[1]["example"], indent=2, ensure_ascii=False)
            parts.append(f"```json\n{shown}\n```")
    errors: list[str] = []
    for status, answer in operation["responses"].items():
        if int(status) < 400:
            kinds = [_kind(c.get("schema", {})) for c in answer.get("content", {}).values()]
            parts.append(f"Answer: {status}{', ' + ' or '.join(kinds) if kinds else ''}.")
        else:
            errors += re.findall("`([a-z_]+)`", answer["description"])
    own = [code for code in errors if code not in _USUAL]
    if own:
        parts.append(f"Errors: {_codes(own)}.")
    return "\n\n".join(parts)


def _codes(codes: Sequence[str]) -> str:
    return ", ".join(f"[`{code}`](errors.md#{code})" for code in codes)


def errors() -> str:
    """Every code of an error of the management API."""
    parts = [
        f"### {code}\n\nStatus {described.status}. {described.meaning}\n\n**What to do:** {described.remedy}"
        for code, described in ERRORS.items()
    ]
    return _page(
        "Errors of the management API",
        "Every error has a `message` for people and a `code` for programs:\n\n"
        '```json\n{\n  "message": "Validation failed",\n  "code": "invalid_input",\n'
        '  "errors": {"name": ["can\'t be blank"]},\n  "codes": {"name": ["blank"]}\n}\n```\n\n'
        "What consumers get from the gateway is in [Refusals](reasons.md).",
        "## Codes",
        *parts,
        "## Codes of fields",
        "`codes` has one of these for each sentence of `errors`. A field is named by its path in what you sent.",
        _table(("code", "meaning"), [(f"`{code}`", text) for code, text in FIELDS.items()]),
    )


def api_objects() -> str:
    """Every object that the management API takes or answers."""
    schemas = _document()["components"]["schemas"]
    return _page(
        "Objects of the management API",
        "What the operations of the [management API](api.md) take and answer. A field without a default that is not "
        "required may be left out.",
        *(_object(name, schema) for name, schema in sorted(schemas.items())),
    )


def _object(name: str, schema: ServedDocument) -> str:
    parts = [f"## {name}"]
    if schema.get("description"):
        parts.append(schema["description"])
    if "properties" in schema:
        required = set(schema.get("required", ()))
        rows = [
            (f"`{field}`", _kind(each), "yes" if field in required else "", _field(each, each))
            for field, each in schema["properties"].items()
        ]
        parts.append(_table(("field", "type", "required", "meaning"), rows))
    else:
        parts.append(f"{_kind(schema)}.")
    return "\n\n".join(parts)


def _field(schema: ServedDocument, described: ServedDocument) -> str:
    """Meaning, default and range of a field or a parameter."""
    said = [str(described.get("description") or "")]
    if schema.get("default") is not None:
        said.append(f"Default: `{schema['default']}`.")
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None and most < 2**31 - 1:
        said.append(f"{least:,} to {most:,}.")
    return " ".join(filter(None, said))


def _kind(schema: ServedDocument) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](api-objects.md#{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for joined in ("anyOf", "oneOf", "allOf"):
        if joined in schema:
            return _either(schema[joined])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return {"date-time": "time", "date": "date", "binary": "file"}.get(
        schema.get("format", ""), str(kind)
    )


def _either(schemas: Sequence[ServedDocument]) -> str:
    kinds = list(dict.fromkeys(_kind(each) for each in schemas))
    patterns = {each.get("pattern") for each in schemas}
    if "^[0-9]{1,10}$" in patterns:
        kinds = ["id", *(kind for kind in kinds if kind not in {"integer", "string"})]
    return " or ".join(kinds)


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/settings.md": settings,
    "reference/commands.md": commands,
    "reference/api.md": api,
    "reference/api-objects.md": api_objects,
    "reference/errors.md": errors,
    "reference/reasons.md": reasons,
    "reference/webhook-events.md": webhook_events,
    "reference/metrics.md": metrics,
}


def main() -> None:
    """Write every page."""
    for name, text in PAGES.items():
        (DOCS / name).write_text(text())
        sys.stdout.write(f"docs/{name}\n")
