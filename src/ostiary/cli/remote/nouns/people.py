"""Management tokens and members."""

from ostiary.cli.remote.nouns.declarations import (
    AnswerForm,
    Option,
    OptionKind,
    RemoteNoun,
    RemoteOperation,
    Usual,
)
from ostiary.cli.remote.nouns.options import (
    EXPIRES,
    NAME,
    OVERLAP,
)

#: `create` works on the machine itself without the API too.
TOKEN = RemoteNoun(
    name="token", plural="tokens", help="tokens of the management API",
    operations=(
        *Usual(
            path="v2/tokens", one="token", without=frozenset({"create"}),
            columns=(
                "id", "name", "admin", "role", "all_projects", "project_ids", "expires_at", "revoked_at",
                "last_used_at",
            ),
            body=(NAME, EXPIRES),
        ).operations(),
        RemoteOperation(
            verb="create", method="POST", path="v2/tokens", help="make a token and print it",
            form=AnswerForm.SECRET,
            body=(
                Option(name="name", required=True, help="what it is for"),
                Option(
                    name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner"),
                    help="its role in the projects; without a role it is an admin's",
                ),
                Option(name="project_ids", kind=OptionKind.NUMBERS, flag="--project-id", help="id of a project; repeat it"),
                Option(name="all_projects", kind=OptionKind.FLAG, help="the role counts in all projects"),
                Option(
                    name="expires_at", kind=OptionKind.TIME,
                    help="a time, or a span such as 30d (default: as the workspace's settings say)",
                ),
            ),
        ),
        RemoteOperation(
            verb="me", method="GET", path="v2/tokens/me", help="show what the token in use may do",
            form=AnswerForm.OBJECT,
        ),
        RemoteOperation(
            verb="rotate", method="POST", path="v2/tokens/{id}/rotate",
            help="replace the secret of a token and print it", form=AnswerForm.SECRET, body=(OVERLAP,),
        ),
        RemoteOperation(
            verb="rotate-me", method="POST", path="v2/tokens/me/rotate",
            help="replace the secret of the token in use and print it", form=AnswerForm.SECRET, body=(OVERLAP,),
        ),
    ),
)  # fmt: skip

#: `create` and `link` work on the machine itself without the API too.
MEMBER = RemoteNoun(
    name="member", plural="members", help="people who sign in to the console",
    operations=(
        *Usual(
            path="v2/members", one="member", without=frozenset({"create"}),
            columns=("id", "email", "name", "admin", "active", "roles", "last_sign_in_at"),
            body=(
                NAME,
                Option(name="email", help="the member's address"),
                Option(name="admin", kind=OptionKind.FLAG, help="whether a workspace admin"),
                Option(name="active", kind=OptionKind.FLAG, help="whether they may sign in"),
            ),
        ).operations(),
        RemoteOperation(
            verb="create", method="POST", path="v2/members", help="add a member, print a sign-in link",
            form=AnswerForm.SECRET, always={"sign_in_link": True},
            body=(
                Option(name="email", required=True, help="the member's address"),
                NAME,
                Option(name="admin", kind=OptionKind.FLAG, help="make a workspace admin"),
            ),
        ),
        RemoteOperation(
            verb="role", method="PUT", path="v2/members/{id}/projects/{project_id}",
            help="give a member a role in a project, or none",
            body=(Option(
                name="role", kind=OptionKind.CHOICE, choices=("viewer", "editor", "owner", "none"), required=True,
                help="the role",
            ),),
        ),
    ),
)  # fmt: skip
