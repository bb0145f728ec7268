"""Webhooks on PostgreSQL, which may cut every connection at any time."""

from pathlib import Path

import psycopg
import pytest
from tests.postgres import cluster
from tests.stage import running, wait_for
from tests.webhooks.receiver import Receiver

pytestmark = [pytest.mark.postgres, pytest.mark.gateway, pytest.mark.slow]


def test_cut_connections_stop_nothing(tmp_path: Path) -> None:
    receiver = Receiver()
    with cluster() as url, running(tmp_path / "data", env={"OSTIARY_DATABASE_URL": url}) as stage:
        stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
        content = {"name": "W", "url": f"{receiver.url}/ok", "events": ["quota.reached"]}
        webhook = stage.done("POST", "v2/webhooks", content)["data"]
        for number in range(1, 4):
            wait_for(
                lambda: stage.api("POST", f"v2/webhooks/{webhook['id']}/test").status == 200,
                what="a test is sent",
            )
            receiver.wait("/ok", number)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
        assert all(got.verified(webhook["secret"]) for got in receiver.got)
    receiver.close()
