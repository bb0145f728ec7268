"""The JSON Schema of a configuration, for editors of its files (draft 2020-12)."""

from collections.abc import Mapping
from typing import Any

from ostiary.configuration.entries import FORMAT
from ostiary.configuration.nouns.clients import PROFILES
from ostiary.configuration.nouns.file_noun import AnyNoun
from ostiary.configuration.nouns.registry import NOUNS, parts_of

_SECRET = {
    "oneOf": [
        {
            "type": "object",
            "properties": {source: {"type": "string"}},
            "required": [source],
            "additionalProperties": False,
        }
        for source in ("env", "file")
    ],
    "description": "Where the command finds the secret: a variable of its environment, or a file.",
}


def json_schema() -> Mapping[str, Any]:
    """The schema, made of the inputs of the nouns."""
    definitions: dict[str, Any] = {}
    for noun in NOUNS:
        definitions[noun.kind] = _entry(noun, definitions)
    sections = {noun.section: _several(noun) for noun in NOUNS if noun.parent is None}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Ostiary",
        "description": "One file of a folder; all of its files are taken together.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "format": {"const": FORMAT, "description": "The version of this form."},
            "set": {
                "type": "string",
                "pattern": "^[a-z0-9][a-z0-9-]{0,63}$",
                "description": "The set that owns what the files make.",
            },
            "project": {"type": "string", "description": "The key or the name of the project."},
            **sections,
            "moved": {
                "type": "array",
                "description": "Keys that were other ones before.",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["kind", "from", "to"],
                    "properties": {
                        "kind": {"enum": [n.kind for n in NOUNS if n.movable]},
                        "from": {"type": "string"},
                        "to": {"type": "string"},
                    },
                },
            },
        },
        "$defs": definitions,
    }


def _several(noun: AnyNoun) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/$defs/{noun.kind}"}}


def _entry(noun: AnyNoun, definitions: dict[str, Any]) -> dict[str, Any]:
    made = noun.input.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions |= made.pop("$defs", {})
    properties = {n: each for n, each in made["properties"].items() if n in noun.names}
    for each in properties.values():
        each.pop("title", None)
        each.pop("default", None)
    properties |= {name: _SECRET for name in noun.secrets if name not in noun.names}
    for name in noun.secrets:
        if name in noun.names:
            properties[name] = {"anyOf": [{"type": "string"}, *_SECRET["oneOf"]]}
    for name, reference in noun.references.items():
        key = {"type": "string", "description": f"The key of a {reference.kind.replace('_', ' ')}."}
        properties[name] = (
            {"type": "array", "items": key}
            if reference.several
            else {"anyOf": [key, {"type": "null"}]}
        )
    if "active" in noun.names:
        properties.setdefault("active", {"type": "boolean"})
    named = []
    if not noun.single:
        properties["protect"] = {"type": "boolean", "description": "Never delete it by a plan."}
        named = ["key"]
    if noun.single:
        pass
    elif noun.kind == "endpoint":
        named = ["method", "path"]
        properties |= {name: made["properties"][name] for name in named}
    else:
        properties["key"] = {"type": "string", "description": "Its name in files, which stays."}
    if noun is PROFILES:
        properties["rotate"] = {
            "type": "integer",
            "minimum": 0,
            "description": "Raise it to issue a new credential.",
        }
        properties["overlap_seconds"] = {
            "type": "integer",
            "minimum": 0,
            "description": "How long the old credential works on after a rotation, in seconds.",
        }
    for part in parts_of(noun):
        one = {"$ref": f"#/$defs/{part.kind}"}
        properties[part.section] = one if part.single else _several(part)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": named,
        "properties": properties,
    }
