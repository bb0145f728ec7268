"""Writing an exported configuration as a folder of files."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ostiary.cli.failure import Failure

#: The file that says whose the others are.
MAIN = "ostiary.yaml"
#: Sections of which each entry has a file of its own, in a folder of that name.
_APART = ("collections", "clients")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SCHEMA = "ostiary.schema.json"
_HEAD = f"# yaml-language-server: $schema=./{_SCHEMA}\n"


def write(folder: Path, content: Mapping[str, Any], schema: str | None, *, overwrite: bool) -> int:
    """Write a configuration, the same one always to the same bytes; returns the number of files.

    Raises Failure if something is there: with `overwrite`, only what is not an export.
    """
    _clear(folder, overwrite=overwrite)
    head = {name: each for name, each in content.items() if not isinstance(each, list)}
    files = {MAIN: head}
    for section, entries in content.items():
        if not isinstance(entries, list):
            continue
        if section not in _APART:
            files[f"{section}.yaml"] = {section: entries}
            continue
        for entry in entries:
            files[f"{section}/{_file_name(entry['key'])}.yaml"] = {section: [entry]}
    for name, each in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            _HEAD * (name == MAIN and schema is not None) + _yaml(each), encoding="utf-8"
        )
    if schema is not None:
        (folder / _SCHEMA).write_text(schema, encoding="utf-8")
    return len(files)


def _file_name(key: object) -> str:
    """A key as the name of a file; raises Failure for one that would lead elsewhere."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise Failure(
            f"{str(key)[:80]!r} can't name a file: the answer is not an export of Ostiary"
        )
    return key


def _clear(folder: Path, *, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{folder} is not a folder.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MAIN).is_file():
        raise Failure(f"{folder} is not empty and holds no {MAIN}: name another folder.")
    if not overwrite:
        raise Failure(f"{folder} holds an export already: add --overwrite to replace it.")
    for section in _APART:
        shutil.rmtree(folder / section, ignore_errors=True)
    for path in folder.glob("*.yaml"):
        path.unlink()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(value: object) -> str:
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
