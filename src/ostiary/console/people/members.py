"""Members: their names, roles, sign-in links, second factors, and their deletion. For admins."""

import secrets
from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.form_pages import once_page
from ostiary.console.frame.forms import sent
from ostiary.console.frame.listing import asked, number_of
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import first_time
from ostiary.console.sign_in import steps
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid, Refused
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import Member
from ostiary.directory.people import members, second_factors, sign_ins, single_sign_on
from ostiary.directory.projects import projects
from ostiary.directory.workspace import public_urls

ORDERS = {
    "email": ("E-mail, A to Z", ("email",)),
    "-created": ("Newest first", ("-pk",)),
    "-last": ("Last sign-in, newest first", ("-last_login", "email")),
}


@page
@require_http_methods(["GET", "POST"])
def member_list(request: HttpRequest, by: Actor) -> HttpResponse:
    """The members; a new one gets a sign-in link, shown this once."""
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and first_time(request):
        try:
            member = members.create(
                by=by,
                email=request.POST.get("email", ""),
                name=request.POST.get("name", ""),
                admin=request.POST.get("admin") == "1",
            )
        except Invalid as error:
            errors = error.errors
        else:
            return _link(request, by, member.pk)
    wanted = asked(request, ORDERS)
    found = members.members(by, search=wanted.search)
    paging = wanted.paging(found.count())
    context = {
        "members": wanted.sliced(
            found.prefetch_related("memberships__project", "provider_links"), paging
        ),
        "asked": wanted,
        "paging": paging,
        "nouns": "member,members",
        "projects": projects.projects(by).order_by("name"),
        "roles": [role.value for role in Role],
        "errors": errors,
        "given": request.POST if errors else {},
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/members.html", context, status=400 if errors else 200)


@page
@require_POST
def member_link(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    require_admin(by)
    if member_id == by.id and not steps.is_confirmed(request):
        # With a link one sets a new password without the present one.
        return steps.to_confirm(reverse("members"))
    if not first_time(request):
        return redirect("members")
    return _link(request, by, member_id)


@page
@require_POST
def reset_second_factor(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    back = reverse("members")
    if answer := unanswered(request, lambda: _without_factors(member), back=back):
        return answer
    second_factors.reset(by=by, member=member)
    messages.success(request, f"{member.email} has no second factor any more, and is signed out.")
    return redirect(made_at(request, back))


@page
@require_POST
def unlink_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    back = reverse("members")
    if answer := unanswered(request, lambda: _unlinked(member), back=back):
        return answer
    single_sign_on.unlink_all(by=by, member=member)
    messages.success(request, f"{member.email} is linked to no provider any more.")
    return redirect(made_at(request, back))


def _link(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    secret = members.create_link(by=by, member=member)
    context = {
        "title": f"A sign-in link for {member.email}",
        "label": "Sign-in link",
        "value": public_urls.sign_in_link(secret),
        "text": "It works once, for 24 hours. Send it to that person alone, by a way that you trust.",
        "back": "members",
    }
    return once_page(request, "console/shown_once.html", context, replace=reverse("members"))


@page
@require_POST
def change_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    require_admin(by)
    flags = {
        name: request.POST[name] == "1" for name in ("admin", "active") if name in request.POST
    }
    back = reverse("members")
    off = flags.get("active") is False
    if off and (answer := unanswered(request, lambda: _off(by, member_id), back=back)):
        return answer
    if "admin" in flags:
        answer = unanswered(request, lambda: _admin(by, member_id, admin=flags["admin"]), back=back)
        if answer:
            return answer
    try:
        if "project" in request.POST:
            project = projects.find(by, number_of(request.POST["project"]) or 0)
            role = request.POST.get("role") or None
            members.set_role(by=by, member_id=member_id, project_id=project.pk, role=role)
        else:
            members.change(by=by, member_id=member_id, given=members.MemberInput(**flags))
    except Invalid as error:
        messages.error(request, error.sentences)
    except Refused as error:
        messages.error(request, f"{error}.")
    else:
        undo = None
        if "active" in flags:
            undo = (request.path, "active", "0" if flags["active"] else "1")
        say_done(request, "The member was changed.", undo=undo)
    return redirect(made_at(request, back))


def _without_factors(member: Member) -> ConsequenceQuestion:
    factors = counted(second_factors.of(member).count(), "second factor")
    return ConsequenceQuestion(
        title=f"Remove all second factors of {member.email}?",
        sentences=(
            f"{factors} and the recovery codes stop working. {_signed_out(member)}",
            "Until a new one is set up, a password or a sign-in link is enough to sign in.",
        ),
        verb="Remove",
    )


def _unlinked(member: Member) -> ConsequenceQuestion:
    return ConsequenceQuestion(
        title=f"Unlink {member.email} from single sign-on?",
        sentences=(
            (
                f"{counted(single_sign_on.links(member).count(), 'link')} to the provider ends."
                f" {_signed_out(member)}"
            ),
            "At the next single sign-on, the e-mail address has to match again.",
        ),
        verb="Unlink",
    )


def _signed_out(member: Member) -> str:
    return f"They are signed out ({counted(sign_ins.sessions(member).count(), 'open session')})."


def _admin(by: Actor, member_id: int, *, admin: bool) -> ConsequenceQuestion:
    member = members.find(by, member_id)
    if admin:
        every = counted(projects.projects(by).count(), "project")
        return ConsequenceQuestion(
            title=f"Make {member.email} a workspace admin?",
            sentences=(
                f"They can then see and change everything: {every}, members, tokens and settings.",
            ),
            verb="Make admin",
        )
    roles = member.memberships.count()
    left = (
        f"They keep their roles in {counted(roles, 'project')}."
        if roles
        else "They have no role in a project, and will see nothing."
    )
    return ConsequenceQuestion(
        title=f"Remove the admin role of {member.email}?", sentences=(left,), verb="Remove"
    )


def _off(by: Actor, member_id: int) -> ConsequenceQuestion:
    member = members.find(by, member_id)
    open_ = sign_ins.sessions(member).count()
    return ConsequenceQuestion(
        title=f"Deactivate {member.email}?",
        sentences=(
            (
                f"They are signed out at once ({counted(open_, 'open session')}), and cannot sign in until you"
                " activate them again. Management tokens that they made stop working."
            ),
        ),
        verb="Deactivate",
    )


@page
@require_http_methods(["GET", "POST"])
def edit_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    """Name and e-mail address."""
    member = members.find(by, member_id)

    def save() -> HttpResponse:
        members.change(
            by=by,
            member_id=member_id,
            given=members.MemberInput.of(
                name=request.POST.get("name", ""), email=request.POST.get("email", "")
            ),
            if_match=request.POST.get("read"),
        )
        messages.success(request, "The member was changed.")
        return redirect("members")

    answer, errors = sent(request, save)
    member = members.find(by, member_id)
    context = {
        "member": member,
        "read": etags.etag(member),
        "given": request.POST or {"name": member.name, "email": member.email},
        "errors": errors,
        "may_delete": member.pk != by.id,
    }
    return answer or render(
        request, "console/member_form.html", context, status=400 if errors else 200
    )


@page
@require_http_methods(["GET", "POST"])
def delete_member(request: HttpRequest, by: Actor, member_id: int) -> HttpResponse:
    member = members.find(by, member_id)
    return by_name(
        request,
        lambda: _delete(by, member_id),
        what="member",
        name=member.email,
        consequence=(
            "They are signed out everywhere and lose roles, sign-in links and second factors. Management"
            " tokens that they made are revoked. What they did stays in the audit log."
        ),
        takes=[
            counted(sign_ins.sessions(member).count(), "open session"),
            counted(member.memberships.count(), "role"),
            counted(second_factors.of(member).count(), "second factor"),
        ],
        back=reverse("members"),
        after=reverse("members"),
    )


def _delete(by: Actor, member_id: int) -> None:
    members.delete(by=by, member_id=member_id)
