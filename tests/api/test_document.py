"""What schemathesis finds against the API's own description: nothing."""

from collections.abc import Iterable
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import Api

from ostiary.api.document import ServedDocument

pytestmark = [pytest.mark.slow]

# What a schema cannot say (names that are taken, URLs that lead to ourselves) is refused with 400.
config = schemathesis.Config.from_dict(
    {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": ["2xx", 304, 400, 403, 404, 409, 412]}
        }
    }
)
schema = schemathesis.openapi.from_dict(ServedDocument("http://localhost"), config=config)
schema.app = get_wsgi_application()


#: Not by `schema.parametrize`: all of its tests have one name, of which xdist runs one alone.
_FOUND: Iterable[Any] = schema.get_all_operations()
OPERATIONS = [found.ok() for found in _FOUND]


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.label for each in OPERATIONS])
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_schemathesis_finds_nothing(operation: Any, data: st.DataObject, api: Api) -> None:
    case = data.draw(operation.as_strategy())
    own = case.path_parameters.get("token_id") == api.token_id
    if own or operation.label == "POST /api/v2/tokens/me/rotate":
        return  # It would revoke the very token that it calls with.
    case.call_and_validate(headers={"Authorization": f"Bearer {api.token}"})
