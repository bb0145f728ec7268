"""Retention: deletes old audit events, changes, answers, sessions, tokens and webhook deliveries."""

from datetime import timedelta

from django.utils import timezone

from ostiary.directory.changes import deletions, feed, stored_answers
from ostiary.directory.models import AuditEvent, FormPage, MemberSession, RevokedToken, SignInLink
from ostiary.directory.webhooks import deliveries
from ostiary.directory.workspace import workspace_settings

#: Leases last ten minutes, and a gateway that was away for longer is told everything anew.
FEED_SECONDS = 2 * 86_400
#: Rows of one statement: a long one would hold up those who write meanwhile.
AT_ONCE = 500


def tidy() -> int:
    """Delete what is too old; returns how many rows."""
    now = timezone.now()
    kept = timedelta(days=workspace_settings.read().audit_log_days)
    deleted = feed.trim(keep_seconds=FEED_SECONDS)
    old = AuditEvent.objects.filter(at__lt=now - kept)
    while ids := list(old.values_list("pk", flat=True)[:AT_ONCE]):
        deleted += AuditEvent.objects.filter(pk__in=ids).delete()[0]
    deleted += deliveries.tidy(now)
    deleted += stored_answers.delete_old()
    deleted += deletions.tidy()
    deleted += RevokedToken.objects.filter(expires_at__lt=now).delete()[0]
    deleted += MemberSession.objects.filter(expires_at__lt=now).delete()[0]
    deleted += FormPage.objects.filter(expires_at__lt=now).delete()[0]
    return deleted + SignInLink.objects.filter(expires_at__lt=now - kept).delete()[0]
