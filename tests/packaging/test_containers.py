"""Dockerfile, compose files and systemd units name settings, ports and commands that there are."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.packaging.locks import ROOT
from tests.stage import OSTIARY, running

from ostiary import settings
from ostiary.cli import main

DOCKERFILE = (ROOT / "Dockerfile").read_text()
SETUP = (ROOT / "scripts" / "setup").read_text()
COMPOSE: Any = yaml.safe_load((ROOT / "compose.yaml").read_text())
POSTGRESQL: Any = yaml.safe_load((ROOT / "compose.postgresql.yaml").read_text())
CLUSTER: Any = yaml.safe_load((ROOT / "compose.cluster.yaml").read_text())
KUBERNETES: list[Any] = [
    each
    for path in sorted((ROOT / "ops" / "kubernetes").iterdir())
    for each in yaml.safe_load_all(path.read_text())
]
UNITS = sorted((ROOT / "ops" / "systemd").glob("*.*"))
ROLE_UNITS = sorted((ROOT / "ops" / "systemd" / "cluster").iterdir())
SERVICE = (ROOT / "ops" / "systemd" / "ostiary.service").read_text()


def _instruction(name: str) -> str:
    (found,) = re.findall(rf"^{name} ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)[-1:]
    return str(found)


def test_the_dockerfile_is_clean_to_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "text", [DOCKERFILE, str(COMPOSE), str(POSTGRESQL), SERVICE, str(CLUSTER), str(KUBERNETES)]
)
def test_settings_that_are_set_there_are_known(text: str) -> None:
    assert set(re.findall(r"OSTIARY_[A-Z0-9_]+", text)) <= settings.NAMES


def test_the_image_listens_where_it_says_and_compose_publishes_that() -> None:
    exposed = set(_instruction("EXPOSE").split())
    bound = set(re.findall(r"OSTIARY_(?:GATEWAY|CONTROL)_BIND=0\.0\.0\.0:(\d+)", DOCKERFILE))
    published = {port.rpartition(":")[2] for port in COMPOSE["services"]["ostiary"]["ports"]}
    assert exposed == bound == published


def test_the_image_keeps_its_data_in_the_volume_and_runs_without_rights() -> None:
    service = COMPOSE["services"]["ostiary"]
    folder = re.findall(r"OSTIARY_DATA=(\S+)", DOCKERFILE)
    assert folder == [_instruction("VOLUME")]
    assert service["volumes"] == [f"data:{folder[0]}"]
    assert _instruction("USER") == "10001:10001"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]


def test_the_image_has_the_packages_that_make_setup_installs() -> None:
    wanted = set(
        re.findall(r"\|\| echo ([a-z0-9-]+)$", SETUP.partition('mode" = dev')[0], re.MULTILINE)
    )
    assert {"nginx", "libnginx-mod-http-lua", "lua-cjson"} <= wanted
    installed = set(DOCKERFILE.rpartition("FROM ")[2].partition("&& rm")[0].split())
    assert wanted <= installed


def test_commands_of_image_and_unit_are_commands() -> None:
    run = [*re.findall(r"^ExecStart=\S+ (.+)$", SERVICE, re.MULTILINE)]
    run += re.findall(r"^ExecReload=\S+ (.+)$", SERVICE, re.MULTILINE)
    run += re.findall(r'^CMD \["(.+)"\]$', DOCKERFILE, re.MULTILINE)
    run += re.findall(r'^HEALTHCHECK .*CMD \["ostiary", "(.+)"\]$', DOCKERFILE, re.MULTILINE)
    assert sorted(run) == ["health", "restart", "up", "up"]
    for command in run:
        main.parser().parse_args(command.split())


def _of_kind(kind: str) -> list[Any]:
    return [each for each in KUBERNETES if each["kind"] == kind]


def test_containers_of_a_cluster_run_roles_without_rights() -> None:
    roles = []
    for name, service in CLUSTER["services"].items():
        if service.get("image") == "ostiary":
            roles.append(service.get("command", ["gateway"])[0])
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert set(service["secrets"]) <= set(CLUSTER["secrets"]), name
    assert sorted(roles) == ["control", "gateway", "gateway"]
    names = [each["environment"]["OSTIARY_NODE"] for each in CLUSTER["services"].values()
             if each.get("image") == "ostiary"]  # fmt: skip
    assert len(set(names)) == len(names)
    used = {each.partition(":")[0] for service in CLUSTER["services"].values()
            for each in service.get("volumes", [])}  # fmt: skip
    assert used == set(CLUSTER["volumes"])
    for each in _of_kind("StatefulSet"):
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert f"{pod['securityContext']['runAsUser']}:10001" == _instruction("USER")
        assert not pod["automountServiceAccountToken"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod["initContainers"], *pod["containers"]]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        for container in pod["containers"]:
            main.parser().parse_args(container["args"])


def test_what_kubernetes_is_given_fits_together() -> None:
    (kustomization,) = _of_kind("Kustomization")
    files = {path.name for path in (ROOT / "ops" / "kubernetes").iterdir()}
    assert files - {"kustomization.yaml"} == set(kustomization["resources"])
    # Policies choose pods by the label that kustomize adds.
    assert kustomization["labels"][0]["includeTemplates"]
    sets = {each["metadata"]["name"]: each["spec"] for each in _of_kind("StatefulSet")}
    assert set(sets) == {"gateway", "control"}
    chosen = [each["spec"]["selector"]["matchLabels"] for each in _of_kind("PodDisruptionBudget")]
    assert chosen == [{"app.kubernetes.io/name": name} for name in ("control", "gateway")]
    for service in _of_kind("Service"):
        spec = sets[service["metadata"]["name"]]
        labels = spec["template"]["metadata"]["labels"]
        assert service["spec"]["selector"] == spec["selector"]["matchLabels"] == labels
        main_container = spec["template"]["spec"]["containers"][0]
        ports = {port["name"] for port in main_container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            (how,) = [main_container[probe].get(way) for way in ("httpGet", "tcpSocket")
                      if way in main_container[probe]]  # fmt: skip
            assert how["port"] in ports
    (scaler,) = _of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "gateway"
    policies = {each["metadata"]["name"]: each["spec"] for each in _of_kind("NetworkPolicy")}
    nothing = policies["nothing-else"]
    assert nothing["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(nothing)
    calls = [port["port"] for rule in policies["gateway"]["ingress"] for port in rule["ports"]]
    assert calls == [8080]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
@pytest.mark.parametrize("units", [UNITS, ROLE_UNITS], ids=["one", "roles"])
def test_systemd_takes_the_units(tmp_path: Path, units: list[Path]) -> None:
    # The program that they start isn't at its place here.
    for unit in units:
        text = re.sub(r"/opt/ostiary/\S+/ostiary", str(OSTIARY[0]), unit.read_text())
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *sorted(tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
@pytest.mark.parametrize(
    "unit",
    [each for each in [*UNITS, *ROLE_UNITS] if each.suffix == ".service"],
    ids=lambda unit: str(unit.name),
)
def test_the_service_is_exposed_little(unit: Path) -> None:
    """2.0 of 10, which systemd calls OK."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:]


def test_the_guide_of_systemd_shows_the_units_as_they_are() -> None:
    guide = (ROOT / "docs" / "how-to" / "systemd.md").read_text()
    for unit in UNITS:
        assert f"ops/systemd/{unit.name}" in guide
    for unit in ROLE_UNITS:
        assert f"`{unit.name}`" in guide


@pytest.mark.gateway
@pytest.mark.slow
def test_health_follows_what_runs(tmp_path: Path) -> None:
    with running(tmp_path) as stage:
        assert "/healthz" in stage.command("health")
        stage.stop()
        done = subprocess.run(
            [*OSTIARY, "health", "--data", str(tmp_path)],
            env=stage.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert re.fullmatch(r"ostiary: \S+/healthz does not answer: .+\.\n", done.stderr)
