"""One response model for each schema, instead of one for each status of each operation.

Ninja wraps the schema of each answer in a model of its own, which pydantic builds. All operations have the same
errors, so nine of ten of these models are alike; they took a third of the time of the management API's import.
"""

from functools import cache
from typing import Any

from ninja import Schema
from ninja.operation import Operation


def share() -> None:
    """Let operations that are declared from now on share the models of equal schemas."""
    make = Operation._create_response_model  # noqa: SLF001 - ninja has no setting for it

    @cache
    def shared(schema: Any) -> type[Schema] | None:
        # It uses nothing of the operation.
        return make(None, schema)  # type: ignore[arg-type]

    def response_model(self: Operation, response_param: Any) -> type[Schema] | None:
        del self
        return shared(response_param)

    Operation._create_response_model = response_model  # type: ignore[method-assign]  # noqa: SLF001 - as above
