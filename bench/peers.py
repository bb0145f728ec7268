"""Other gateways, set up to do as much of our work as each of them can: key, address, limit, log.

Their programs are in an environment of their own (`bench/peers.txt`); one that is not there is left
out. Each runs on one core, as ours does in the same benchmark.
"""

import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stage import free_port

from bench.lone import endpoints
from bench.stand import Server, folder, process, wait_until_listening

ROOT = Path(__file__).parent.parent
HOW = "python3 -m venv .venv-peers && .venv-peers/bin/pip install -r bench/peers.txt"
KEY = "ost_Q602TNZLLukgJqOo3m9lC50CL1nmWOz56hpEsiWQ1jk003c3d0f7be93hE44Z"


def find(name: str) -> str | None:
    """The path of a peer's program; nothing if it is not installed."""
    own = ROOT / ".venv-peers" / "bin" / name
    return str(own) if own.exists() else shutil.which(name)


def paths() -> Iterator[tuple[str, bool]]:
    """The 30 paths of our benchmark; whether a segment follows."""
    for _, path in endpoints(30):
        yield f"/bench-v1{path.removesuffix('{id}')}", path.endswith("{id}")


# --- Envoy -------------------------------------------------------------------------------------------

_TYPE = "type.googleapis.com/envoy.extensions."


def _filter(name: str, kind: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}{kind}", **config}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy(made: Path, port: int, upstream: int) -> Sequence[str]:
    routes = [
        {
            "match": {"prefix" if more else "path": path},
            "route": {
                "cluster": "u",
                "prefix_rewrite": path.removeprefix("/bench-v1"),
                "host_rewrite_literal": f"127.0.0.1:{upstream}",
            },
        }
        for path, more in paths()
    ]
    http = "filters.http."
    filters = [
        _filter(
            "envoy.filters.http.api_key_auth",
            f"{http}api_key_auth.v3.ApiKeyAuth",
            credentials=[{"key": KEY, "client": "c1"}],
            key_sources=[{"header": "API-TOKEN"}],
            forwarding={"header": "X-Client-Id", "hide_credentials": True},
        ),
        _filter(
            "envoy.filters.http.rbac",
            f"{http}rbac.v3.RBAC",
            rules={
                "action": "ALLOW",
                "policies": {
                    "p": {
                        "permissions": [{"any": True}],
                        "principals": [
                            {"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}
                        ],
                    }
                },
            },
        ),
        _filter(
            "envoy.filters.http.local_ratelimit",
            f"{http}local_ratelimit.v3.LocalRateLimit",
            stat_prefix="limit",
            token_bucket={
                "max_tokens": 100_000_000,
                "tokens_per_fill": 100_000_000,
                "fill_interval": "60s",
            },
            filter_enabled={"default_value": {"numerator": 100}},
            filter_enforced={"default_value": {"numerator": 100}},
            enable_x_ratelimit_headers="DRAFT_VERSION_03",
        ),
        _filter("envoy.filters.http.router", f"{http}router.v3.Router"),
    ]
    line = (
        "%REQ(X-REQUEST-ID)% %RESPONSE_CODE% %REQ(X-CLIENT-ID)%"
        " %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DURATION% %BYTES_RECEIVED% %BYTES_SENT%\n"
    )
    log = _filter(
        "envoy.access_loggers.file",
        "access_loggers.file.v3.FileAccessLog",
        path=str(made / "log"),
        log_format={"text_format_source": {"inline_string": line}},
    )
    manager = _filter(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="in",
        normalize_path=True,
        use_remote_address=True,
        access_log=[log],
        route_config={"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        http_filters=filters,
    )
    cluster = {
        "name": "u",
        "connect_timeout": "5s",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "u",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    listener = {
        "name": "l",
        "address": _address(port),
        "filter_chains": [{"filters": [manager]}],
    }
    config = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (made / "envoy.json").write_text(json.dumps(config))
    words = ("-c", str(made / "envoy.json"), "--concurrency", "1", "-l", "off")
    return ("envoy", *words, "--use-dynamic-base-id")


# --- Traefik -----------------------------------------------------------------------------------------


def traefik(made: Path, port: int, upstream: int) -> Sequence[str]:
    routers = {
        f"r{number}": {
            "rule": f"Header(`API-TOKEN`,`{KEY}`) && {'PathPrefix' if more else 'Path'}(`{path}`)",
            "service": "u",
            "middlewares": ["ip", "rate", "strip", "headers"],
        }
        for number, (path, more) in enumerate(paths())
    }
    headers = {"X-Client": "1", "X-Profile": "1", "API-TOKEN": ""}
    dynamic = {
        "http": {
            "routers": routers,
            "middlewares": {
                "ip": {"ipAllowList": {"sourceRange": ["127.0.0.0/8"]}},
                "rate": {"rateLimit": {"average": 100_000_000, "burst": 100_000_000}},
                "strip": {"stripPrefix": {"prefixes": ["/bench-v1"]}},
                "headers": {"headers": {"customRequestHeaders": headers}},
            },
            "services": {
                "u": {
                    "loadBalancer": {
                        "servers": [{"url": f"http://127.0.0.1:{upstream}"}],
                        "passHostHeader": False,
                    }
                }
            },
        }
    }
    static = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(made / "dynamic.yml"), "watch": False}},
        "log": {"level": "ERROR"},
        "accessLog": {"filePath": str(made / "log"), "format": "json", "bufferingSize": 1000},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    }
    # JSON is YAML.
    (made / "dynamic.yml").write_text(json.dumps(dynamic))
    (made / "traefik.yml").write_text(json.dumps(static))
    return ("traefik", f"--configFile={made / 'traefik.yml'}")


# --- Caddy -------------------------------------------------------------------------------------------


def caddy(made: Path, port: int, upstream: int) -> Sequence[str]:
    text = f"""\
        {{
          admin off
          auto_https off
        }}
        http://127.0.0.1:{port} {{
          log {{
            output file {made}/log
            format json
          }}
          @ok {{
            header API-TOKEN {KEY}
            remote_ip 127.0.0.0/8
            path /bench-v1/orders/*
          }}
          handle @ok {{
            uri strip_prefix /bench-v1
            reverse_proxy 127.0.0.1:{upstream} {{
              header_up Host {{upstream_hostport}}
              header_up X-Client 1
              header_up X-Profile 1
              header_up -API-TOKEN
            }}
          }}
          handle {{
            respond 401
          }}
        }}
    """
    (made / "Caddyfile").write_text(textwrap.dedent(text))
    return ("caddy", "run", "--config", str(made / "Caddyfile"), "--adapter", "caddyfile")


# --- by hand -----------------------------------------------------------------------------------------


def by_hand(made: Path, port: int, upstream: int) -> Sequence[str]:
    app = ("bench.fastapi_peer:app", "--app-dir", str(ROOT))
    return ("uvicorn", *app, "--port", str(port), "--no-access-log", "--log-level", "error")


PEERS: Mapping[str, Callable[[Path, int, int], Sequence[str]]] = {
    "Envoy: key, address, local limit, log": envoy,
    "Traefik: header rule, address, limit, log": traefik,
    "Caddy: header and address, log": caddy,
    "FastAPI, slowapi, httpx: key, address, limit": by_hand,
}


@contextmanager
def peer(name: str, upstream: int, around: Sequence[str]) -> Iterator[Server | None]:
    """A peer that runs; nothing if its program is not there."""
    port = free_port()
    with folder() as made:
        program, *words = PEERS[name](made, port, upstream)
        path = find(program)
        if path is None:
            yield None
            return
        env = {
            "PATH": os.defpath,
            "HOME": str(made),
            "GOMAXPROCS": "1",
            "PEER_KEY": KEY,
            "PEER_UPSTREAM": f"http://127.0.0.1:{upstream}",
        }
        with process(*around, path, *words, env=env) as started:
            wait_until_listening(port)
            yield Server(
                name=name, port=port, pid=started.pid, path="/bench-v1/orders/5",
                headers=(f"API-TOKEN: {KEY}",),
            )  # fmt: skip
