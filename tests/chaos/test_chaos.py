"""The short form of `make chaos`, under load: a recipe runner killed, and a gateway cut off from database and store."""

import subprocess
import sys

import pytest
from tests.chaos import network

pytestmark = [pytest.mark.gateway, pytest.mark.postgres, pytest.mark.slow]

SHORT = ("recipes-kill", "cut-gateway-both")


def test_cut_off_gateways_admit_nothing_revoked_and_all_recover_by_themselves() -> None:
    why = network.missing()
    if why:
        pytest.skip(f"no network namespaces here, so no packets can be dropped: {why}")
    words = [sys.executable, "-m", "tests.chaos", "--rate", "60", *SHORT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(SHORT), done.stdout
