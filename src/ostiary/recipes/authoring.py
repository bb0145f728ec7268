"""What a recipe's author writes with: a decorator for the function, and what a call brings.

```python
from ostiary.recipes import Context, recipe
from pydantic import BaseModel

class Order(BaseModel):
    quantity: int

@recipe(name="double", version="1.0")
def double(order: Order, context: Context) -> int:
    return 2 * order.quantity
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: What the decorator marks a function with.
MARK = "__ostiary_recipe__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: ids of client and access profile, and how the profile proves itself."""

    client: int
    profile: int
    auth_method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a call brings beside its input. `headers` are lower-case, without credentials."""

    address: str
    caller: Caller
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    name: str
    version: str


def recipe(*, name: str, version: str = "1.0") -> Callable[[F], F]:
    """Mark a function as a recipe: typed input, optionally a Context, typed output."""

    def mark(function: F) -> F:
        setattr(function, MARK, Marked(name=name, version=version))
        return function

    return mark
