"""A digest of a folder of recipes, by which machines find out whether they run the same ones."""

import hashlib
from pathlib import Path

from ostiary.recipes.folder import LARGEST


def digest(folder: Path) -> str:
    """SHA-256 of the names and contents of its files, in hex; empty: there are none, or no folder."""
    found = hashlib.sha256()
    names = 0
    try:
        paths = sorted(folder.glob("*.py"))
    except OSError:
        return ""
    for path in paths:
        try:
            if not path.is_file() or path.stat().st_size > LARGEST:
                continue
            content = path.read_bytes()
        except OSError:
            continue
        names += 1
        found.update(f"{path.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        found.update(content)
    return found.hexdigest() if names else ""
