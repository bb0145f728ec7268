"""What schemathesis finds against the API's own description: nothing."""

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck, settings
from tests.api.conftest import Api

pytestmark = [pytest.mark.slow]

# What a schema cannot say (names that are taken, URLs that lead to ourselves) is refused with 400.
config = schemathesis.Config.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 400, 403, 404, 409]}}}
)
schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application(), config=config)


@schema.hook
def filter_query(context: schemathesis.HookContext, query: dict[str, object] | None) -> bool:
    """A query parameter that no operation knows is ignored, as URLs are shared with tags."""
    parameters = context.operation.query if context.operation else ()
    return set(query or {}) <= {parameter.name for parameter in parameters}


def test_the_document_is_public_and_describes_every_operation() -> None:
    document = Client().get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = [o for path in document["paths"].values() for o in path.values()]
    assert len(operations) > 50
    for operation in operations:
        assert {"400", "401", "403", "404", "409", "500", "503"} <= set(operation["responses"])


@schema.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_schemathesis_finds_nothing(case: schemathesis.Case[Any], api: Api) -> None:
    if case.path_parameters.get("token_id") == api.token_id:
        return  # It would revoke the very token that it calls with.
    case.call_and_validate(headers={"Authorization": f"Bearer {api.token}"})
