"""Template filters that describe values in words."""

import secrets
import time
from datetime import UTC, datetime
from typing import assert_never

from django import template
from django.contrib.messages.storage.base import Message
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from ostiary import __version__
from ostiary.access.addresses import Entry
from ostiary.configuration import sets
from ostiary.configuration.descriptions import KINDS as KINDS_IN_FILES
from ostiary.console.catalog.collections import KINDS
from ostiary.console.clients.access_profiles import METHODS, policy_words
from ostiary.console.frame import documentation, moments
from ostiary.console.frame import navigation as pages
from ostiary.console.frame.forms import shown
from ostiary.console.frame.questions import UNDO
from ostiary.console.sign_in import steps
from ostiary.console.workspace import audit_sentences
from ostiary.directory import states
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.clients import handovers, token_rules
from ostiary.directory.models import (
    AccessProfile,
    AuditEvent,
    Client,
    Collection,
    Connection,
    Credential,
    Endpoint,
    Handover,
    Member,
    Policy,
    Webhook,
)
from ostiary.identity.tokens import masked

register = template.Library()


@register.simple_tag
def release() -> str:
    """The release that runs."""
    return __version__


@register.simple_tag
def navigation(request: HttpRequest) -> dict[str, object]:
    """The groups of links that the navigation shows, and the link of the page that is shown."""
    member = request.user
    admin = isinstance(member, Member) and member.admin
    current = pages.current(request.path, admin=admin)
    return {"groups": list(pages.groups(admin=admin)), "current": current}


@register.simple_tag
def docs_url(path: str) -> str:
    """Where the documents describe the page at a path; empty: nobody serves them."""
    return documentation.url(path)


@register.simple_tag
def once() -> SafeString:
    """A number for a form that makes something: sent again as it is, it makes nothing more."""
    return format_html('<input type="hidden" name="once" value="{}">', secrets.token_urlsafe(16))


@register.simple_tag
def may_be_locked_out(member: Member) -> bool:
    """Whether a signed-in member has no way to sign in again."""
    return not steps.can_return(member)


@register.simple_tag
def undo(message: Message) -> dict[str, str]:
    """The form that undoes what a message tells, if one does."""
    mark, *parts = (message.extra_tags or "").split(" ")
    if mark != UNDO or len(parts) != 3:
        return {}
    return dict(zip(("address", "field", "value"), parts, strict=True))


@register.simple_tag
def moment(at: datetime | None, never: str = "never", *, stop: bool = True) -> SafeString | str:
    """A time as how long ago it is; hover or focus shows it in UTC.

    `stop` false: inside a link, which takes the focus. `never`: what is said where there is none.
    """
    if at is None:
        return never
    return format_html(
        '<time class="moment" datetime="{}" title="{}"{}>{}</time>',
        at.astimezone(UTC).isoformat(timespec="seconds"),
        moments.absolute(at),
        mark_safe(' tabindex="0"') if stop else "",
        moments.relative(at, datetime.now(UTC)),
    )


@register.simple_tag
def until(at: datetime) -> SafeString:
    """A time that counts to the minute, such as an end; hover shows how far away it is."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.astimezone(UTC).isoformat(timespec="seconds"),
        moments.relative(at, datetime.now(UTC)),
        at.astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC"),
    )


@register.simple_tag
def server_time() -> int:
    """Unix milliseconds: pages keep `moment` true by it, whatever the browser's clock says."""
    return int(time.time() * 1000)


@register.inclusion_tag("console/managed.html")
def managed(kind: str, row: Model | None, *, editing: bool = False) -> dict[str, object]:
    """Which set of files an object belongs to, if it belongs to one; none: it is made just now."""
    if row is None:
        return {"set": None, "editing": editing}
    within = getattr(row, "client", None) or getattr(row, "collection", None) or row
    project_id: int | None = getattr(within, "project_id", None)
    # What belongs to the whole workspace belongs to no set: a set is a project's.
    owner = sets.owner(kind, row.pk, project_id) if project_id is not None else None
    return {"set": owner, "editing": editing}


@register.filter
def kind_in_files(kind: str) -> str:
    """A kind of object as people call it."""
    return KINDS_IN_FILES[kind]


@register.inclusion_tag("console/copy.html")
def copy(text: object, what: str) -> dict[str, object]:
    """A button that copies `text`; `what` names it to those who listen, such as "request id"."""
    return {"text": text, "what": what}


@register.inclusion_tag("console/copy.html")
def copy_field(field: str, what: str) -> dict[str, object]:
    """A button that copies what the field with this id holds."""
    return {"field": field, "what": what}


@register.filter
def sentence(event: AuditEvent) -> str:
    """What an event of the audit log says."""
    return str(audit_sentences.sentence(event))


@register.filter
def limits(policy: Policy) -> str:
    """A policy's limits in words."""
    return policy_words(policy)


@register.filter
def method(profile: AccessProfile) -> str:
    """The authentication method's label."""
    return METHODS[next(m for m in METHODS if m == profile.auth_type)]


@register.filter
def takes_endless_tokens(profile: AccessProfile) -> bool:
    """Whether the profile accepts signed tokens that never expire."""
    return token_rules.takes_endless_tokens(profile)


@register.filter
def kind(collection: Collection) -> str:
    """The kind of a collection, as owners read it."""
    return KINDS[Collection.Kind(collection.kind)]


@register.simple_tag
def badge(row: states.Stated, *, beside: bool = False) -> SafeString | str:
    """The effective state of a row; `beside` a switch only what the switch does not say."""
    state = states.of(row)
    plain = (states.NAMES[states.StateCode.ACTIVE], states.NAMES[states.StateCode.INACTIVE])
    if beside and state.text in plain:
        return ""
    return format_html(
        '<span class="state {}"{}>{}</span>',
        state.badge,
        format_html(' title="{}"', state.detail) if state.detail else "",
        state.text,
    )


@register.filter
def gateway_problem(thing: Connection | Collection | Endpoint) -> str:
    """Why the gateway does not take something; empty: it takes it."""
    match thing:
        case Connection():
            return unpublished_objects.reason(unpublished_objects.CONNECTION, thing.pk)
        case Collection():
            return unpublished_objects.reason(unpublished_objects.COLLECTION, thing.pk)
        case Endpoint():
            return unpublished_objects.reason(unpublished_objects.ENDPOINT, thing.pk)
        case _:
            assert_never(thing)


@register.filter
def mask(credential: Credential) -> str:
    """A token as it may be shown: its prefix and last four characters."""
    return masked(credential.prefix, credential.last_four)


@register.filter
def handover_state(handover: Handover) -> str:
    """What has become of a hand-over link."""
    return handovers.state(handover).value


@register.filter
def initials(name: str) -> str:
    """Up to two letters that stand for a name where it has no picture."""
    letters = [word[0] for word in name.split() if word[0].isalpha()]
    return "".join(letters[:2] or name[:1]).upper()


@register.filter
def hue(number: int) -> int:
    """One of eight colours: neighbours in a list have different ones."""
    return number % 8


@register.filter
def meaning(entry: Entry) -> str:
    """What an entry of an address list stands for."""
    count = entry.addresses
    return f"{entry.network} ({count:,} address{'' if count == 1 else 'es'})"


@register.filter
def labels(row: Client | AccessProfile | Collection | Webhook) -> str:
    """The labels of a row, as forms write them."""
    return ", ".join(shown(row.labels).splitlines())
