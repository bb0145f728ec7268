"""The process in which recipes run: no rights, little memory, one call at a time.

Reads length-prefixed JSON from its standard input and answers on its standard output. It is given
the sources, so it needs to read no folder of ours; whoever started it kills it when a call takes
too long.
"""

import ast
import asyncio
import contextlib
import importlib
import inspect
import io
import json
import os
import pwd
import re
import resource
import struct
import sys
import traceback
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, BinaryIO

from pydantic import BaseModel, Field, PydanticUserError, TypeAdapter, ValidationError

from ostiary.recipes.authoring import MARK, Caller, Context, Marked

MEMORY = 1024 * 1024 * 1024
FILES = 256
LARGEST_FILE = 64 * 1024 * 1024
LONGEST_TRACE = 16 * 1024
#: As `directory.catalog.recipes`, which is not to be imported in here, takes it.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
NAME_RULE = "letters, digits, dots, hyphens and underscores, at most 100, beginning with a letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecipe:
    """A recipe's function, with its input and output types."""

    marked: Marked
    function: Callable[..., Any]
    file: str
    input: type[BaseModel] | None
    output: TypeAdapter[Any]
    wants_context: bool


class BadRecipe(Exception):
    """A function that is marked, and cannot be a recipe."""


def confine() -> None:
    """Give up what a recipe must not have: rights, the caller's session, memory without end."""
    os.umask(0o077)
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


def preload(sources: Iterable[str]) -> None:
    """Import the installed modules that recipe files name, before rights are given up."""
    names = {"datetime", "decimal", "hashlib", "math", "random", "secrets", "uuid"}
    for source in sources:
        with contextlib.suppress(SyntaxError, ValueError):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module)
    names |= {"importlib.metadata", "asyncio", "pydantic.json_schema", "traceback"}
    for name in sorted(names):
        # What cannot be imported is said when the recipe itself is loaded.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    _warm_up()


class _Sample(BaseModel):
    number: int = Field(0, ge=0)
    amount: Decimal = Decimal(0)
    when: datetime | None = None


def _warm_up() -> None:
    """Make pydantic do its late imports now, while imports still work."""
    with contextlib.suppress(ValidationError):
        _Sample.model_validate({"number": "x"})
    adapter = TypeAdapter(list[_Sample])
    adapter.json_schema(mode="serialization")
    adapter.dump_json([_Sample()])


def load(file: str, source: str) -> list[LoadedRecipe]:
    """Run a recipe file and collect its marked functions; raises what the file raises, and BadRecipe."""
    module = ModuleType(f"recipe_{file.removesuffix('.py')}")
    sys.modules[module.__name__] = module
    exec(compile(source, file, "exec"), module.__dict__)  # noqa: S102 - that is what recipes are
    found = [value for value in vars(module).values() if hasattr(value, MARK)]
    return [_recipe(file, function) for function in found]


def _recipe(file: str, function: Callable[..., Any]) -> LoadedRecipe:
    marked: Marked = getattr(function, MARK)
    if not NAME.fullmatch(str(marked.name)):
        raise BadRecipe(f"{marked.name!r:.120} isn't a valid recipe name: {NAME_RULE}")
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters)
    models = [p for p in parameters if _is_model(hints.get(p))]
    contexts = [p for p in parameters if hints.get(p) is Context]
    if [*models, *contexts] != parameters or len(models) > 1 or len(contexts) > 1:
        raise BadRecipe(f"{marked.name} must take one pydantic model, then optionally a Context")
    try:
        output = TypeAdapter(hints.get("return", Any))
    except PydanticUserError as error:
        raise BadRecipe(f"{marked.name} returns what pydantic does not know: {error}") from error
    return LoadedRecipe(
        marked=marked,
        function=function,
        file=file,
        input=hints[models[0]] if models else None,
        output=output,
        wants_context=bool(contexts),
    )


def _is_model(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def describe(recipes: list[LoadedRecipe]) -> list[dict[str, Any]]:
    """The description of recipes: names, versions, docstrings, schemas."""
    return [
        {
            "name": r.marked.name,
            "version": r.marked.version,
            "description": inspect.getdoc(r.function) or "",
            "file": r.file,
            "input_schema": r.input.model_json_schema() if r.input else {},
            "output_schema": r.output.json_schema(mode="serialization"),
        }
        for r in recipes
    ]


def call(recipe: LoadedRecipe, given: dict[str, Any], context: Context, *, validate: bool) -> Any:
    """Run a recipe; the answer is an outcome with a result, errors, or a trace."""
    arguments: list[Any] = []
    if recipe.input is not None:
        try:
            arguments.append(
                recipe.input.model_validate(given) if validate
                else recipe.input.model_construct(**given)
            )  # fmt: skip
        except ValidationError as error:
            return {"outcome": "invalid", "errors": _errors(error)}
    if recipe.wants_context:
        arguments.append(context)
    try:
        result = recipe.function(*arguments)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
    except BaseException:
        return {"outcome": "failed", "trace": traceback.format_exc()[-LONGEST_TRACE:]}
    try:
        return {"outcome": "ok", "result": _output(recipe, result)}
    except (ValidationError, ValueError, TypeError) as error:
        trace = f"The result does not fit the declared type.\n{error}"
        return {"outcome": "failed", "trace": trace[:LONGEST_TRACE]}


def _output(recipe: LoadedRecipe, result: Any) -> Any:
    checked = recipe.output.validate_python(result)
    return json.loads(recipe.output.dump_json(checked))


def _errors(error: ValidationError) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in each["loc"]) or "input"
        found.setdefault(field, []).append(each["msg"])
    return found


def _context(request: dict[str, Any]) -> Context:
    return Context(
        address=request["address"],
        caller=Caller(**request["caller"]),
        request_id=request["request_id"],
        headers=request["headers"],
        claims=request["claims"],
    )


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """One message, or nothing at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    return json.loads(stream.read(struct.unpack(">I", head)[0]))  # type: ignore[no-any-return]  # what JSON holds


def message(content: object) -> bytes:
    """A message as it goes through a pipe."""
    body = json.dumps(content).encode()
    return struct.pack(">I", len(body)) + body


def main() -> None:
    """Answer messages until the pipe ends."""
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a recipe prints must not get between the messages.
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(2, 1)
    recipes: dict[str, LoadedRecipe] = {}
    confined = False
    while (request := read(inward)) is not None:
        if not confined:
            # The user that we become may not be able to read where Python is installed.
            preload(request.get("files", {}).values())
            confine()
            confined = True
        outward.write(message(_answer(request, recipes)))
        outward.flush()


def _answer(request: dict[str, Any], recipes: dict[str, LoadedRecipe]) -> Any:
    if request["op"] == "load":
        return _load(request["files"], recipes)
    recipe = recipes.get(request["recipe"])
    if recipe is None:
        return {"outcome": "absent"}
    return call(
        recipe, request["input"], _context(request["context"]), validate=request["validate"]
    )


def _load(files: dict[str, str], recipes: dict[str, LoadedRecipe]) -> Any:
    found: list[LoadedRecipe] = []
    errors: dict[str, str] = {}
    for file, source in files.items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                loaded = load(file, source)
        except BaseException as error:
            errors[file] = f"{type(error).__name__}: {error}"[:2000]
            continue
        for recipe in loaded:
            if recipe.marked.name in recipes:
                errors[file] = (
                    f"the name {recipe.marked.name} is taken by {recipes[recipe.marked.name].file}"
                )
                continue
            recipes[recipe.marked.name] = recipe
            found.append(recipe)
    return {"recipes": describe(found), "errors": errors}


if __name__ == "__main__":
    main()
