"""The page of the licences of what Ostiary depends on, as those packages declare them."""

import importlib.metadata
from importlib.metadata import PackageMetadata

from tests.packaging.locks import ROOT, pins

PAGE = ROOT / "THIRD-PARTY.md"

HEAD = """\
# Licences of dependencies

What `make setup` and a wheel install from the package index, with the licences that the packages declare. `make lock` writes
this page; `make sbom` writes the same as a CycloneDX document. Ostiary itself has the [Apache License 2.0](LICENSE).

| package | version | licence |
|---|---|---|
"""
#: Prefix of the classifiers of licences.
CLASSIFIER = "License :: "


def declared(metadata: PackageMetadata) -> str:
    """The licence of a package: an SPDX expression (PEP 639), or what packages had before that."""
    if expression := _only(metadata, "License-Expression"):
        return expression
    named = _only(metadata, "License")
    # A text of several lines is the licence itself.
    if named and "\n" not in named:
        return named
    classifiers = metadata.get_all("Classifier") or []
    return ", ".join(
        value.rpartition(" :: ")[2] for value in classifiers if value.startswith(CLASSIFIER)
    )


def _only(metadata: PackageMetadata, name: str) -> str:
    values: list[str] = metadata.get_all(name) or [""]
    return values[0]


def page() -> str:
    """The page, of what is installed here."""
    rows = []
    for name, pin in sorted(pins("base").items()):
        if pin.is_for_us():
            licence = declared(importlib.metadata.metadata(name))
            assert licence, f"{name} declares no licence"
            rows.append(f"| {name} | {pin.version} | {licence} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
