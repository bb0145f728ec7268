"""Offboarding a client: what it has, one press that ends it, and a report to keep."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.clients import offboarding
from ostiary.review import offboarding_reports
from ostiary.usage import csv_export

#: Profiles that the page shows; the file has all.
MOST_SHOWN = 100


@page
@require_http_methods(["GET", "POST"])
def client(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """The preview, and after it the report: both say what there is now."""
    if request.method == "POST":
        return _done(request, by, client_id)
    report = offboarding_reports.of_client(by, client_id)
    context = {
        "client": report.client,
        "report": report,
        "profiles": report.profiles[:MOST_SHOWN],
        "most": MOST_SHOWN,
        "days": offboarding_reports.DAYS,
        "may_change": by.may(Role.EDITOR, report.client.project_id),
    }
    return render(request, "console/offboarding.html", context)


def _done(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    saved = offboarding.offboard(by=by, client_id=client_id)
    done = saved.value
    if in_force(request, saved):
        text = (
            f"{done.client.name} offboarded: {done.profiles:,} active access profiles deactivated, "
            f"{done.credentials:,} credentials revoked, {done.handovers:,} hand-over links withdrawn."
        )
        messages.success(request, text)
    return redirect("offboard-client", client_id)


@page
@require_safe
def report_file(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """The report as a file."""
    report = offboarding_reports.of_client(by, client_id)
    lines = csv_export.lines(offboarding_reports.HEADS, offboarding_reports.table(report))
    response = HttpResponse("".join(lines), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="offboarding-{client_id}.csv"'
    return response
