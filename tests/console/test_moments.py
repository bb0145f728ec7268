"""How long ago something was, and what can be copied: one tag each, on every page."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template

from ostiary.console.frame.moments import absolute, relative

NOW = datetime(2026, 11, 28, 14, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "said"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=9), "now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=1), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=2, minutes=30), "2 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=-3), "in 3 days"),
        (timedelta(seconds=-90), "in 1 min"),
        (timedelta(days=30), "29 Oct 2026"),
    ],
    ids=str,
)
def test_a_time_is_said_as_how_long_ago_it_is(ago: timedelta, said: str) -> None:
    assert relative(NOW - ago, NOW) == said


def rendered(source: str, /, **context: object) -> str:
    return Template("{% load console %}" + source).render(Context(context))


def test_a_moment_shows_its_time_to_those_who_hover_and_those_who_focus() -> None:
    at = datetime.now(UTC) - timedelta(hours=2, minutes=1)
    shown = rendered("{% moment at %}", at=at)
    assert ">2 h ago</time>" in shown
    assert f'title="{absolute(at)}" tabindex="0"' in shown
    assert f'datetime="{at.isoformat(timespec="seconds")}"' in shown
    assert "tabindex" not in rendered("{% moment at stop=False %}", at=at)
    assert rendered('{% moment at "Never" %}', at=None) == "Never"


def test_a_copy_button_holds_its_text_and_names_what_it_copies() -> None:
    shown = rendered('{% copy text "request id" %}', text='a"<b>')
    assert 'data-copy-text="a&quot;&lt;b&gt;"' in shown
    assert "Copy the request id" in shown
