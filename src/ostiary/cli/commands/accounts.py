"""The commands that make something in the directory: tokens, members, a population."""

import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module

from ostiary.cli.failure import Failure
from ostiary.cli.remote import values
from ostiary.cli.remote.nouns.people import MEMBER, TOKEN
from ostiary.cli.startup import addresses, django_setup
from ostiary.settings import Settings


def create_token(settings: Settings, arguments: Namespace) -> str:
    """Make a management token, of an admin unless it has a role; returns it.

    It expires unless it was said that it must not.
    """
    wanted = values.body(TOKEN.of("create"), arguments, datetime.now(UTC)) or {}
    ends = wanted.get("expires_at")
    if arguments.never_expires and ends:
        raise Failure("--never-expires and --expires-at contradict each other; give one of them.")
    with django_setup.opened(settings):
        from ostiary.directory.actor import SYSTEM

        tokens = import_module("ostiary.directory.people.management_tokens")
        created = tokens.create(
            name=wanted["name"],
            admin="role" not in wanted,
            role=wanted.get("role"),
            everywhere=wanted.get("all_projects", False),
            project_ids=wanted.get("project_ids", ()),
            expires_at=datetime.fromisoformat(ends) if ends else None,
            everlasting=arguments.never_expires,
            by=SYSTEM,
        )
        return str(created.secret.reveal())


def create_member(settings: Settings, arguments: Namespace) -> str:
    """Add a member; returns a one-time sign-in link."""
    wanted = values.body(MEMBER.of("create"), arguments, datetime.now(UTC)) or {}
    with django_setup.opened(settings):
        from ostiary.directory.actor import SYSTEM

        members = import_module("ostiary.directory.people.members")
        members.create(
            email=wanted["email"],
            name=wanted.get("name", ""),
            admin=bool(wanted.get("admin")),
            by=SYSTEM,
        )
        return _link(settings, wanted["email"])


#: What works on the machine itself without a token, by noun and operation; returns what is shown once.
HERE: Mapping[tuple[str, str], Callable[[Settings, Namespace], str]] = {
    ("token", "create"): create_token,
    ("member", "create"): create_member,
}


def link_member(settings: Settings, *, email: str, reset_second_factor: bool) -> str:
    """A new one-time sign-in link for a member, who may have lost the second factor."""
    with django_setup.opened(settings):
        if reset_second_factor:
            from ostiary.directory.actor import SYSTEM
            from ostiary.directory.people import members, second_factors

            second_factors.reset(by=SYSTEM, member=members.by_email(email))
        return _link(settings, email)


def _link(settings: Settings, email: str) -> str:
    from ostiary.directory.actor import SYSTEM
    from ostiary.directory.workspace import workspace_settings

    members = import_module("ostiary.directory.people.members")
    secret = members.issue_link(email=email, by=SYSTEM)
    running = addresses.read(settings)
    console = (
        settings.console_url or running.public_console or workspace_settings.read().console_url
    )
    console = console or running.console
    # After the `#`: it never reaches a server's log.
    return f"{console}/sign-in/link#{secret.reveal()}"


def seed(settings: Settings, *, profiles: int, per_client: int, days: int) -> None:
    """Fill an empty directory with a made-up population, and usage of the last days if any."""
    with django_setup.opened(settings):
        import_module("ostiary.samples.population").make(profiles=profiles, per_client=per_client)
        if days:
            import_module("ostiary.samples.usage").make(days=days, now=int(time.time()))
