"""A plan as text for a terminal, and as Markdown for a pull request."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ostiary.cli.files.loading import Loaded

_SIGNS = {"create": "+", "update": "~", "adopt": "=", "delete": "-"}
_LONGEST = 200


def plain(plan: Mapping[str, Any], loaded: Loaded) -> str:
    """The plan, a change a line, with its fields below."""
    return "\n".join([*_plain(plan, loaded), ""])


def _plain(plan: Mapping[str, Any], loaded: Loaded) -> Iterator[str]:
    yield f"Set {plan['set']} in the project {plan['project']}"
    for change in plan["changes"]:
        yield f"{_SIGNS[change['action']]} {_line(change['sentence'])}"
        if change["action"] != "create":
            yield from (f"    {_field(each)}" for each in change["fields"])
        if change["drift"]:
            yield f"    {_drifted(change)}"
    yield from _ending(plan, loaded)
    yield summary(plan)


def markdown(plan: Mapping[str, Any], loaded: Loaded) -> str:
    """The plan for a comment on a pull request."""
    return "\n".join([*_markdown(plan, loaded), ""])


def _markdown(plan: Mapping[str, Any], loaded: Loaded) -> Iterator[str]:
    yield f"### Plan of set `{plan['set']}` in the project {_cell(plan['project'])}"
    yield ""
    yield summary(plan)
    if plan["changes"]:
        yield ""
        yield "| | change | fields |"
        yield "|---|---|---|"
    for change in plan["changes"]:
        fields = "" if change["action"] == "create" else "<br>".join(
            _cell(_field(each)) for each in change["fields"]
        )  # fmt: skip
        if change["drift"]:
            fields += f"<br>{_cell(_drifted(change))}"
        yield f"| {_SIGNS[change['action']]} | {_cell(change['sentence'])} | {fields} |"
    ending = list(_ending(plan, loaded))
    if ending:
        yield ""
        yield from (f"- {_cell(each)}" for each in ending)


def drift(plan: Mapping[str, Any]) -> str:
    """What was changed beside the files, and by whom."""
    lines = []
    for change in plan["changes"]:
        lines.append(f"~ {change['kind']} {change['key']}: {_drifted(change)}")
        lines += [
            f"    {each['name']}: {_value(each['applied'])} → {_value(each['old'])}"
            f" (files: {_value(each['new'])})"
            for each in change["fields"]
        ]
    return "\n".join([*(lines or ["Nothing was changed beside the files."]), ""])


def summary(plan: Mapping[str, Any]) -> str:
    """How many changes there are, and what they would have done to calls."""
    counts = plan["counts"]
    words = {
        "create": "to create",
        "update": "to change",
        "adopt": "to take over",
        "delete": "to delete",
    }
    said = [f"{counts[name]:,} {what}" for name, what in words.items() if counts[name]]
    text = f"{', '.join(said) if said else 'No changes'}; {counts['unchanged']:,} unchanged."
    if plan["newly_refused"]:
        text += f" {plan['newly_refused']:,} calls of the last 7 days would have been refused."
    return text


def _ending(plan: Mapping[str, Any], loaded: Loaded) -> Iterator[str]:
    if plan["more_changes"]:
        yield f"… and {plan['more_changes']:,} more changes"
    for each in plan["blocked"]:
        where = f"{loaded.named(each['place'])}: " if each["place"] else ""
        what = f"{each['kind']} {each['key']} ".strip()
        yield f"Blocked: {where}{what} {each['sentence']}".replace("  ", " ")
    if plan["left_over"]:
        names = ", ".join(f"{each['kind']} {each['key']}" for each in plan["left_over"][:10])
        yield (
            f"{len(plan['left_over'])} objects of the set are not in the files and stay"
            f" (--delete deletes them): {names}"
        )
    yield from (f"Note: {each}" for each in plan["warnings"])


def _field(each: Mapping[str, Any]) -> str:
    return f"{each['name']}: {_value(each['old'])} → {_value(each['new'])}"


def _drifted(change: Mapping[str, Any]) -> str:
    who = change["drift"]
    if not who:
        return "changed since it was applied"
    return f"changed since it was applied, by {_line(who['actor'])} at {who['at']}"


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _line(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


def _line(text: str) -> str:
    """Text without what would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _cell(text: str) -> str:
    return _line(text.replace("\n", " ")).replace("|", "\\|").replace("<", "&lt;")
