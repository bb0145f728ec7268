"""The Terraform provider, unmodified: a project, a folder below it, and its properties."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dialect.tools import run, tls_front, tool
from tests.neighbours.proxies import Authority, Files
from tests.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.gateway]
TERRAFORM = shutil.which("terraform") or shutil.which("tofu") or ""
CONFIGURATION = """
terraform {{
  required_providers {{ workato = {{ source = "local/workato", version = "0.16.0" }} }}
}}
provider "workato" {{
  base_url = "{url}"
  api_key  = "{token}"
}}
resource "workato_project" "orders" {{
  name        = "Terraformed"
  description = "{description}"
}}
resource "workato_folder" "inner" {{
  name      = "Inner"
  folder_id = workato_project.orders.folder_id
}}
resource "workato_folder" "innermost" {{
  name      = "Innermost"
  folder_id = workato_folder.inner.id
}}
resource "workato_project_property" "one" {{
  name       = "a.x"
  value      = "17"
  project_id = workato_project.orders.id
}}
"""


class Terraform:
    def __init__(self, stage: Stage, folder: Path, authority: Path, port: int) -> None:
        self._stage, self.folder, self._port = stage, folder, port
        installer = tool("platform", "workato-terraform-provider-install")
        run([installer], folder, {"WORKATO_CLI_HOME": str(folder)})
        mirror = folder / "terraform.d/plugins"
        (folder / "terraformrc").write_text(
            "disable_checkpoint = true\n"
            f'provider_installation {{\n filesystem_mirror {{ path = "{mirror}" }}\n}}\n'
        )
        self._env = {
            "TF_CLI_CONFIG_FILE": str(folder / "terraformrc"),
            "SSL_CERT_FILE": str(authority),
            "CHECKPOINT_DISABLE": "1",
        }

    def __call__(self, *words: str) -> str:
        return run([TERRAFORM, *words], self.folder, self._env)

    def describe(self, description: str) -> None:
        """Write what is wanted, with a project's description."""
        url = f"https://127.0.0.1:{self._port}"
        text = CONFIGURATION.format(url=url, token=self._stage.token, description=description)
        (self.folder / "main.tf").write_text(text)


@pytest.fixture
def terraform(shared_stage: Stage, tmp_path: Path) -> Iterator[Terraform]:
    authority = Authority(tmp_path)
    files: Files = authority.issue("127.0.0.1")
    front = tls_front(shared_stage.control, files.certificate, files.key)
    yield Terraform(shared_stage, tmp_path, authority.path, front.server_address[1])
    front.shutdown()
    front.server_close()


@pytest.mark.skipif(not TERRAFORM, reason="no terraform on this machine")
def test_terraform_makes_changes_and_destroys(shared_stage: Stage, terraform: Terraform) -> None:
    terraform.describe("Before")
    terraform("init", "-no-color")
    terraform("apply", "-auto-approve", "-no-color")
    [project] = [p for p in shared_stage.done("GET", "projects") if p["name"] == "Terraformed"]
    assert project["description"] == "Before"
    folders = shared_stage.done("GET", f"folders?parent_id={project['folder_id']}")
    assert [each["name"] for each in folders] == ["Inner"]
    below = shared_stage.done("GET", f"folders?parent_id={folders[0]['id']}")
    assert [each["name"] for each in below] == ["Innermost"]
    properties = shared_stage.done("GET", f"properties?prefix=a.&project_id={project['id']}")
    assert properties == {"a.x": "17"}
    assert "No changes" in terraform("plan", "-no-color", "-detailed-exitcode")
    terraform.describe("After")
    terraform("apply", "-auto-approve", "-no-color")
    [project] = [p for p in shared_stage.done("GET", "projects") if p["name"] == "Terraformed"]
    assert project["description"] == "After"
    # It never deletes properties, and a project that holds something stays.
    shared_stage.done(
        "POST", f"properties?project_id={project['id']}", {"properties": {"a.x": None}}
    )
    terraform("destroy", "-auto-approve", "-no-color")
    assert all(p["name"] != "Terraformed" for p in shared_stage.done("GET", "projects"))
