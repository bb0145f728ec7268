"""Modules that know no database can be used without one."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "catalog.certificates",
        "catalog.documents",
        "clients.logo",
        "catalog.openapi",
        "workspace.origins",
        "catalog.upstream_url",
    ],
)
def test_a_pure_module_imports_no_django(module: str) -> None:
    code = f"import sys, ostiary.directory.{module}; sys.exit('django' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
