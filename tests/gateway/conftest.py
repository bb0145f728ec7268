"""An upstream of its own for each file of gateway tests, and the products that files share."""

from collections.abc import Iterator

import pytest
from tests.gateway.certificates import Certificate, made_in
from tests.gateway.secure import Secure
from tests.stage import Stage, Upstream, free_port, running


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="session")
def worker_secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """The product with a certificate that files share; tests/conftest.py gives them one worker."""
    folder = tmp_path_factory.mktemp("secure")
    certificate: Certificate = made_in(folder)
    clear = f"127.0.0.1:{free_port()}"
    env = {"OSTIARY_CERTIFICATE": str(certificate.both), "OSTIARY_GATEWAY_H2C_BIND": clear}
    with running(folder / "data", env=env) as stage:
        yield Secure(stage, certificate, clear)


@pytest.fixture(scope="module")
def shared_secure(worker_secure: Secure) -> Secure:
    """A running product whose gateway speaks TLS, without an object, for one file."""
    worker_secure.stage.clear()
    return worker_secure
