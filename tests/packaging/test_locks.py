"""The lock files hold what pyproject.toml allows, and nothing of the machine that wrote them."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.packaging.locks import FOLDER, ROOT, pins

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
#: Lock file → what it is made from.
NAMED = {
    "base": PROJECT["dependencies"],
    "dev": PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"],
    "build": PYPROJECT["build-system"]["requires"],
}
RENEW = "pyproject.toml and the lock file disagree: run `make lock`"


@pytest.mark.parametrize("lock", NAMED)
def test_what_pyproject_names_is_locked_to_a_version_that_it_allows(lock: str) -> None:
    locked = pins(lock)
    for text in NAMED[lock]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{text}: {RENEW}"
        assert locked[name].version in requirement.specifier, f"{text}: {RENEW}"


@pytest.mark.parametrize("lock", ["base", "dev"])
def test_what_locked_packages_need_is_locked(lock: str) -> None:
    locked = pins(lock)
    for name, pin in locked.items():
        if not pin.is_for_us():
            continue
        needed = importlib.metadata.distribution(name).requires or []
        extras = [*pin.requirement.extras, ""]
        for requirement in map(Requirement, needed):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                dependency = canonicalize_name(requirement.name)
                assert dependency in locked, f"{requirement} of {name}: {RENEW}"


def test_users_and_tests_have_the_same_versions() -> None:
    tested = pins("dev")
    for name, pin in pins("base").items():
        assert (pin.version, pin.hashes) == (tested[name].version, tested[name].hashes), name


def test_tests_run_with_the_locked_versions() -> None:
    for name, pin in pins("dev").items():
        if pin.is_for_us():
            assert importlib.metadata.version(name) == pin.version, f"{name}: run `make setup-dev`"


@pytest.mark.parametrize("lock", NAMED)
def test_a_lock_names_no_index_and_no_folder(lock: str) -> None:
    text = (FOLDER / f"{lock}.lock").read_text()
    assert "://" not in text
    # No option of pip's, such as --index-url.
    assert not re.search(r"^-", text, re.MULTILINE)
    # Where uv says what asked for a package.
    files = set(re.findall(r"# +(?:via )?(-[cr] .*|.* \(.*\))$", text, re.MULTILINE))
    assert files <= {"-r -", "-c requirements/dev.lock", "ostiary (pyproject.toml)"}
