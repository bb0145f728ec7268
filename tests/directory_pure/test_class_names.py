"""A class name means one thing: no two modules of the product have a class of the same name."""

import ast
from collections import defaultdict
from pathlib import Path

import ostiary

SOURCE = Path(ostiary.__file__).parent
#: Names that two modules have, and why.
EXCEPTIONS = {
    "Client": "the facts of a decision, and the table that they are read from",
    "Credential": "the facts of a decision, and the table that they are read from",
    # Names of the API's document, which clients generate their classes from.
    "Invalid": "a component of the API's document, and the error behind it",
    "ManagementToken": "a security scheme of the API's document, and the table of tokens",
    "Quota": "a component of the API's document, and a limit",
    "RateLimit": "a component of the API's document, and a limit",
    # What a use case takes.
    "Draft": "what may be saved of a noun, one for each noun",
}


def test_no_class_name_has_two_owners() -> None:
    owners = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        if "migrations" not in path.parts:
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    owners[node.name].append(str(path.relative_to(SOURCE)))
    shared = {name: sorted(paths) for name, paths in owners.items() if len(paths) > 1}
    assert {name: paths for name, paths in shared.items() if name not in EXCEPTIONS} == {}
    # An exception that is not needed any more goes.
    assert EXCEPTIONS.keys() <= shared.keys()
