"""What every test stands on: a data folder of its own, chosen before Django reads its settings."""

import atexit
import gc
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

PREFIX = "ostiary-pytest-"

# pytest-django looks for this name after the first conftest; workers inherit both.
if "OSTIARY_DATA" not in os.environ:  # noqa: TID251 - the environment of what it starts
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Of tests that were killed: the name tells whose it was.
        if not Path("/proc", left.name.removeprefix(PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["OSTIARY_DATA"] = folder  # noqa: TID251 - the environment of what it starts
os.environ["DJANGO_SETTINGS_MODULE"] = "ostiary.settings_django"  # noqa: TID251 - the environment of what it starts

import django  # noqa: E402 - after the settings are named

# A conftest of a folder that is named on the command line is read before pytest-django sets up.
django.setup()

from tests.stage import Stage, prepared, running  # noqa: E402 - as above

prepared.folder = Path(os.environ["OSTIARY_DATA"]) / "prepared"  # noqa: TID251 - what workers inherit

#: Files that take longest. They start first, so that no worker is left with one at the end.
LONGEST = (
    "tests/test_postgresql.py",
    "tests/gateway/test_death.py",
    "tests/console/test_flows.py",
    "tests/gateway/test_counts.py",
    "tests/console/test_sign_in.py",
    "tests/gateway/test_streams.py",
    "tests/console/test_single_sign_on.py",
    "tests/operations/test_readiness.py",
    "tests/documents/test_blocks.py",
    "tests/gateway/test_lanes.py",
    "tests/console/test_sign_in_attacks.py",
    "tests/neighbours/test_console_proxied.py",
    "tests/console/test_usage.py",
    "tests/api/test_document.py",
    "tests/gateway/test_http2.py",
    "tests/gateway/test_failures.py",
    "tests/operations/test_logs.py",
    "tests/console/test_pages.py",
    "tests/console/test_review.py",
    "tests/console/test_call_settings.py",
)
#: Files of long tests that share nothing: any worker takes the next test.
EACH_ALONE = {"tests/documents/test_blocks.py"}
#: Files that share a product of another kind than `shared_stage` go to one worker, one after another.
OF_ONE_PRODUCT = {
    f"tests/gateway/test_{name}.py": "tests/gateway/secure.py"
    for name in ("grpc", "hostile", "http2", "streams", "tls")
}
#: Packages whose quick tests scripts/coverage-floors runs.
MEASURED = ("tests/access/", "tests/identity/", "tests/review/", "tests/usage/")
#: How a file says that all of its tests are slow.
ALL_SLOW = re.compile(r"^pytestmark = .*\bmark\.slow\b", re.MULTILINE)


# What collection makes lives to the end, so the garbage collector need not look at it: half of the
# time of collecting some thousand tests.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="FOLDER", help="keep pictures of the console's pages")
    parser.addoption(
        "--unmeasured",
        action="store_true",
        help="only tests that scripts/coverage-floors does not run",
    )


class Scheduling(LoadFileScheduling):
    """A file stays on one worker, since its tests share what is slow to start.

    See EACH_ALONE and OF_ONE_PRODUCT.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = super()._split_scope(nodeid)
        return nodeid if path in EACH_ALONE else OF_ONE_PRODUCT.get(path, path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of slow tests unread where none of those is wanted: some import for seconds."""
    if config.option.markexpr != "not slow" or not collection_path.name.startswith("test_"):
        return None
    return True if ALL_SLOW.search(collection_path.read_text()) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put long files first and quick ones last, for workers that take files in this order."""
    if config.getoption("unmeasured"):
        _leave_out_measured(config, items)
    first = {path: number for number, path in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item: pytest.Item) -> tuple[int, int]:
        path = item.nodeid.partition("::")[0]
        return first.get(path, len(first)), int(item.path not in slow)

    items.sort(key=turn)


def _leave_out_measured(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [
        item
        for item in items
        if item.nodeid.startswith(MEASURED) and not item.get_closest_marker("slow")
    ]
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]


@pytest.fixture(scope="session")
def worker_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The product that the test files of one worker share, one after another."""
    with running(tmp_path_factory.mktemp("shared")) as stage:
        yield stage


@pytest.fixture(scope="module")
def shared_stage(worker_stage: Stage) -> Stage:
    """A running product without an object, for one file.

    Not for files that kill its parts, or need settings that are read at a start.
    """
    worker_stage.clear()
    return worker_stage


@pytest.fixture(scope="module")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A product for one file alone, which may do with it what it likes."""
    with running(tmp_path_factory.mktemp("own")) as stage:
        yield stage
