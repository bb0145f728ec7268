"""The Singer tap, unmodified, discovers and reads the older lists."""

import json
from pathlib import Path

import pytest
from tests.dialect.tools import run, tool
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.slow, pytest.mark.gateway]
PYTHON = tool("tap", "python")
#: It has its vendor's address in its code.
LAUNCHER = """
import sys, tap_workato.client as client
client.WorkatoStream.url_base = sys.argv.pop(1)
from tap_workato.tap import TapWorkato
TapWorkato.cli()
"""
STREAMS = {"folders", "api_clients", "api_collections", "connections"}


@pytest.mark.skipif(not PYTHON.exists(), reason="tap-workato needs Python 3.11")
def test_the_tap_discovers_and_reads(
    shared_stage: Stage, upstream: Upstream, tmp_path: Path
) -> None:
    shared_stage.a_collection(upstream, name="Orders")
    client = shared_stage.a_client("Acme")
    (tmp_path / "config.json").write_text(json.dumps({"api_token": shared_stage.token}))
    url = f"http://127.0.0.1:{shared_stage.control}"
    command = [PYTHON, "-W", "ignore", "-c", LAUNCHER, url, "--config", "config.json"]
    catalog = json.loads(run([*command, "--discover"], tmp_path, {}))
    known = {stream["tap_stream_id"] for stream in catalog["streams"]}
    assert known >= STREAMS
    for stream in catalog["streams"]:
        for each in stream["metadata"]:
            each["metadata"]["selected"] = stream["tap_stream_id"] in STREAMS
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    lines = run([*command, "--catalog", "catalog.json"], tmp_path, {}).splitlines()
    records = [each for each in map(json.loads, lines) if each["type"] == "RECORD"]
    assert {each["stream"] for each in records} == STREAMS
    read = [each["record"] for each in records if each["stream"] == "api_clients"]
    assert [each["id"] for each in read] == [client["id"]]
