"""The lock files, as pip reads them."""

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One package of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "==", self.requirement
        return only.version

    def is_for_us(self) -> bool:
        """Whether pip installs it on this system, with this Python."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def pins(name: str) -> dict[NormalizedName, Pin]:
    """The packages of a lock file; an assertion fails at a line that is not one's."""
    text = (FOLDER / f"{name}.lock").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    made: dict[NormalizedName, Pin] = {}
    for line in lines:
        first, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        assert hashes, line
        assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes), line
        requirement = Requirement(first)
        made[canonicalize_name(requirement.name)] = Pin(
            requirement=requirement, hashes=tuple(hashes)
        )
    return made
