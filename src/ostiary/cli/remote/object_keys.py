"""Objects that are named by their keys where the API takes ids: they are looked up in its lists.

A number is an id, also where an object has it as its key.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ostiary.cli.failure import Failure
from ostiary.cli.remote import output
from ostiary.cli.remote.nouns.declarations import Option, OptionKind, RemoteNoun, RemoteOperation
from ostiary.cli.remote.values import NONE

#: Lists that find by key, by the names of the fields and parameters that hold the ids of their rows.
LISTS: Mapping[str, str] = {
    "client_id": "api_clients",
    "api_client_id": "api_clients",
    "api_client_ids": "api_clients",
    "profile_id": "api_access_profiles",
    "access_profile_id": "api_access_profiles",
    "access_profile_ids": "api_access_profiles",
    "collection_id": "api_collections",
    "api_collection_id": "api_collections",
    "api_collection_ids": "api_collections",
    "add_api_collection_ids": "api_collections",
    "remove_api_collection_ids": "api_collections",
    "api_endpoint_id": "api_endpoints",
    "proxy_connection_id": "connections",
    "api_policy_id": "v2/api_policies",
    "ip_allow_list_ids": "v2/address_lists",
    "ip_deny_list_ids": "v2/address_lists",
    "project_id": "projects",
    "project_ids": "projects",
}
#: The same for the nouns' own ids.
NOUN_LISTS: Mapping[str, str] = {
    "client": "api_clients",
    "profile": "api_access_profiles",
    "collection": "api_collections",
    "endpoint": "api_endpoints",
    "connection": "connections",
    "policy": "v2/api_policies",
    "address-list": "v2/address_lists",
    "webhook": "v2/webhooks",
    "project": "projects",
}


class Lists(Protocol):
    """The API, as far as it is asked for lists."""

    def call(self, method: str, path: str, *, query: Mapping[str, str | int]) -> Any: ...


def has_keys(noun: RemoteNoun | None, name: str) -> bool:
    """Whether an argument of the path may be a key."""
    return name in LISTS or (name == "id" and noun is not None and noun.name in NOUN_LISTS)


def resolve(
    api: Lists, noun: RemoteNoun | None, operation: RemoteOperation, arguments: argparse.Namespace
) -> None:
    """Put ids in place of the keys among the arguments; raises Failure."""
    for name in operation.arguments:
        text = getattr(arguments, f"path_{name}")
        if not text.isdigit():
            own = NOUN_LISTS[noun.name] if name == "id" and noun is not None else LISTS[name]
            setattr(arguments, f"path_{name}", _id(api, own, text))
    for option, path in _options(operation):
        given = getattr(arguments, option.dest)
        if isinstance(given, list):
            setattr(arguments, option.dest, [_number(api, path, each) for each in given])
        elif given is not None:
            setattr(arguments, option.dest, _number(api, path, given))


def _options(operation: RemoteOperation) -> Iterator[tuple[Option, str]]:
    for option in (*operation.body, *operation.query):
        if option.kind in {OptionKind.NUMBER, OptionKind.NUMBERS} and option.name in LISTS:
            yield option, LISTS[option.name]


def _number(api: Lists, path: str, text: str) -> str:
    return text if text.isdigit() or text in NONE else _id(api, path, text)


def _id(api: Lists, path: str, key: str) -> str:
    found = output.unwrapped(api.call("GET", path, query={"key": key, "per_page": 2}))
    ids = [str(each["id"]) for each in found]
    what = path.rpartition("/")[2].removeprefix("api_").replace("_", " ")
    if not ids:
        raise Failure(f"None of the {what} has the key {key!r}.")
    if len(ids) > 1:
        raise Failure(f"Several of the {what} have the key {key!r}: name one by its id.")
    return ids[0]
