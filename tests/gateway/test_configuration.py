"""nginx.conf of six small gateways: as reviewed, and as the nginx of this machine takes it."""

import os
import re
import shutil
import socket
import subprocess
from importlib.resources import files as resources
from pathlib import Path

import pytest
from tests.gateway.golden import CASES, FOLDER, NGINX_1_22, NGINX_1_26, Case, rendered, rendered_at
from tests.publishing.certificates import a_certificate
from tests.stage import free_port

from ostiary.gateway import contract, launch
from ostiary.gateway.launch import find_modules, find_nginx

_CASES = pytest.mark.parametrize("name", CASES)


@_CASES
def test_the_configuration_is_the_one_that_was_reviewed(name: str) -> None:
    reviewed = (FOLDER / f"{name}.conf").read_text()
    assert rendered(CASES[name]) == reviewed, "review it: scripts/golden, then git diff"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


@_CASES
def test_nothing_but_lua_names_an_upstream(name: str) -> None:
    text = rendered(CASES[name])
    assert re.findall(r"set \$gw_to (\S+);", text) == ["http://closed/"]
    assert set(re.findall(r"(?:proxy|grpc)_pass (\S+);", text)) == {"$gw_to"}
    assert "upstream closed { server 127.0.0.1:1 down; }" in text


@_CASES
def test_what_a_caller_says_of_itself_reaches_no_upstream(name: str) -> None:
    lists = re.findall(r"((?: *proxy_set_header .*;\n)+)", rendered(CASES[name]))
    ours = {"Host", "X-Ostiary-Client", "X-Ostiary-Profile", "X-Ostiary-Request-Id"}
    assert len(lists) == 2
    names = [re.findall(r"proxy_set_header (\S+) ", each) for each in lists]
    assert names[0] == names[1]
    assert len(set(names[0])) == len(names[0])
    assert ours | {"API-TOKEN", "Authorization", "X-Forwarded-For", "Connection"} <= set(names[0])


@pytest.fixture(scope="module")
def nginx() -> tuple[str, tuple[int, int, int]]:
    return find_nginx()


def _prepare(case: Case, root: Path) -> None:
    """The files that the configuration names."""
    folder = root / "run" / "gateway"
    for made in (folder / "temporary", root / "run" / "lines"):
        made.mkdir(parents=True)
    (folder / "issue.key").write_bytes(os.urandom(32))
    (folder / "contract.lua").write_text(contract.lua_module())
    certificate, key = a_certificate("gateway.example", root)
    (root / "gateway.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    for digest in case.authorities:
        shutil.copy(certificate, folder / f"authority-{digest}.pem")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


@_CASES
def test_nginx_takes_it(name: str, nginx: tuple[str, tuple[int, int, int]], tmp_path: Path) -> None:
    case = CASES[name]
    if ":" in case.host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    path, version = nginx
    _prepare(case, tmp_path)
    text = rendered_at(
        case,
        tmp_path,
        port=free_port(),
        version=version,
        modules=find_modules(),
        lua=Path(str(resources("ostiary.gateway") / "lua")),
    )
    (tmp_path / "nginx.conf").write_text(text)
    done = subprocess.run(
        [path, "-e", "stderr", "-t", "-q", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_versions_differ_in_the_way_that_http2_is_asked_for() -> None:
    older, newer = (rendered(CASES[f"tls-nginx-{v}"]).splitlines() for v in ("1.22", "1.26"))
    assert [line for line in older if line not in newer] == [
        "    listen 192.0.2.7:8080 default_server ssl http2 backlog=4096;"
    ]
    assert [line for line in newer if line not in older] == [
        "    listen 192.0.2.7:8080 default_server ssl backlog=4096;",
        "    http2 on;",
    ]
    assert NGINX_1_22 >= launch.OLDEST
    assert NGINX_1_26 > (1, 25, 1)


@pytest.mark.parametrize(
    "folder", ['/srv/a"b', "/srv/a;b", "/srv/a{b", "/srv/a$b", "/srv/a\nb", "/srv/ä"]
)
def test_a_folder_that_could_be_read_as_configuration_is_refused(folder: str) -> None:
    case = CASES["plain"]
    with pytest.raises(ValueError, match=r"nginx\.conf"):
        rendered_at(
            case, Path(folder), port=80, version=NGINX_1_22, modules=Path("/m"), lua=Path("/lua")
        )
