"""What the command manages by the API: how nouns, their operations and options are declared.

A row is data. `grammar` makes the subcommands of it and `calls` carries them out; a test compares each
row with the API's own document. Knows no HTTP.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class OptionKind(enum.Enum):
    """How an option's text becomes a value of the API."""

    TEXT = enum.auto()
    #: A text; `none`: null.
    TEXT_OR_NONE = enum.auto()
    #: One of a closed set.
    CHOICE = enum.auto()
    #: `none`: null.
    NUMBER = enum.auto()
    FLAG = enum.auto()
    TEXTS = enum.auto()
    NUMBERS = enum.auto()
    #: A time, a span from now such as `90d`, or `never`: null.
    TIME = enum.auto()
    #: `LIMIT/INTERVAL`, such as `100/minute`; `none`: null.
    RATE = enum.auto()
    RATES = enum.auto()
    #: `NAME=VALUE`, in an object; `none` empties it.
    PAIRS = enum.auto()
    #: The content of a file; `-` is standard input. Secrets come by it: everybody on a machine can read arguments.
    FILE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A field of a body or a parameter of a query; a dot in its name leads into an object."""

    name: str
    kind: OptionKind = OptionKind.TEXT
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    #: The option, where it is not the field's name.
    flag: str = ""

    @property
    def long(self) -> str:
        name = self.name.rpartition(".")[2].replace("_", "-")
        return self.flag or f"--{name}{'-file' if self.kind is OptionKind.FILE else ''}"

    @property
    def dest(self) -> str:
        return f"field_{self.name.replace('.', '_')}"


class AnswerForm(enum.Enum):
    """What an operation answers."""

    LIST = enum.auto()
    OBJECT = enum.auto()
    #: That it is done.
    DONE = enum.auto()
    #: A new secret is all that a script wants of it.
    SECRET = enum.auto()
    DOCUMENT = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOperation:
    """One call of the API. Names in braces in its path are arguments."""

    verb: str
    method: str
    path: str
    help: str
    form: AnswerForm = AnswerForm.DONE
    query: tuple[Option, ...] = ()
    body: tuple[Option, ...] = ()
    #: Columns of a list.
    columns: tuple[str, ...] = ()
    #: Whether a list comes in pages by number; else by cursor.
    paged: bool = True
    #: Whether an object is answered with a secret that is shown this once.
    secret: bool = False
    #: What the body always has.
    always: Mapping[str, object] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNoun:
    name: str
    plural: str
    help: str
    operations: tuple[RemoteOperation, ...]

    def of(self, verb: str) -> RemoteOperation:
        return next(each for each in self.operations if each.verb == verb)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The operations that most nouns have."""

    path: str
    one: str
    columns: tuple[str, ...]
    #: Options of create and change.
    body: tuple[Option, ...] = ()
    #: Options of create alone, and those that it needs.
    made: tuple[Option, ...] = ()
    required: tuple[str, ...] = ()
    filters: tuple[Option, ...] = ()
    #: The path of the switches, if there are any.
    switch: str = ""
    #: The path of create, if it is another one.
    create: str = ""
    without: frozenset[str] = field(default_factory=frozenset)
    delete_query: tuple[Option, ...] = ()
    #: Options of the switch that turns it off.
    disable: tuple[Option, ...] = ()
    #: Whether what is made comes with a secret.
    secret: bool = False

    def operations(self) -> Iterator[RemoteOperation]:
        made = tuple(needed(each, self.required) for each in (*self.body, *self.made))
        one = f"{self.path}/{{id}}"
        switch = f"{self.switch or one}/"
        every = (
            RemoteOperation(
                verb="list", method="GET", path=self.path, help=f"list {_plural(self.one)}",
                form=AnswerForm.LIST, query=self.filters, columns=self.columns,
            ),
            RemoteOperation(verb="show", method="GET", path=one, help=f"show one {self.one}", form=AnswerForm.OBJECT),
            RemoteOperation(
                verb="create", method="POST", path=self.create or self.path,
                help=f"make one {self.one}", form=AnswerForm.OBJECT, body=made, secret=self.secret,
            ),
            RemoteOperation(
                verb="change", method="PUT", path=one,
                help=f"change the named fields of one {self.one}", form=AnswerForm.OBJECT, body=self.body,
            ),
            RemoteOperation(
                verb="delete", method="DELETE", path=one, help=f"delete one {self.one}",
                query=self.delete_query,
            ),
            RemoteOperation(verb="enable", method="PUT", path=f"{switch}enable", help=f"switch one {self.one} on"),
            RemoteOperation(
                verb="disable", method="PUT", path=f"{switch}disable", help=f"switch one {self.one} off",
                body=self.disable,
            ),
        )  # fmt: skip
        skipped = self.without | (frozenset() if self.switch else {"enable", "disable"})
        yield from (each for each in every if each.verb not in skipped)


def _plural(one: str) -> str:
    return f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"


def needed(option: Option, required: tuple[str, ...]) -> Option:
    if option.name not in required:
        return option
    return Option(
        name=option.name, kind=option.kind, help=option.help, required=True,
        choices=option.choices, flag=option.flag,
    )  # fmt: skip
