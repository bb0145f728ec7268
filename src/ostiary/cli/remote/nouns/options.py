"""Options that several nouns have."""

from ostiary.cli.remote.nouns.declarations import Option, OptionKind

NAME = Option(name="name", help="its name")
DESCRIPTION = Option(name="description", help="a text for owners")
PROJECT = Option(
    name="project_id", kind=OptionKind.NUMBER, help="id of the project (default: Home)"
)
OF_PROJECT = Option(name="project_id", kind=OptionKind.NUMBER, help="of this project alone")
KEY = Option(
    name="key",
    kind=OptionKind.TEXT_OR_NONE,
    help="a name of your own, unique in its project, or none",
)
LABELS = Option(
    name="labels", kind=OptionKind.PAIRS, flag="--label", help="all of its labels; repeat it"
)
ROLE = Option(
    name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner"), help="the role"
)
OVERLAP = Option(
    name="overlap_seconds", kind=OptionKind.NUMBER, help="for how long the old secret works too (0)"
)
EXPIRES = Option(
    name="expires_at", kind=OptionKind.TIME, help="a time, a span such as 90d, or never"
)

UNTIL = Option(
    name="until",
    kind=OptionKind.TIME,
    help="a time or a span such as 2h, after which it comes back by itself",
)
