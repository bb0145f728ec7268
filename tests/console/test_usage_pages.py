"""Usage in this process: who is refused and why, and where each figure leads."""

import re
import time

import pytest
from tests.api.conftest import Api, api
from tests.console.test_logs import Reader, log, reader

from ostiary.access.reasons import Reason, describe
from ostiary.console.frame import charts
from ostiary.usage.models import MinuteCount

__all__ = ["api", "reader"]


@pytest.fixture
def profiles(api: Api) -> list[dict[str, int]]:
    """Fifteen profiles: the last one calls the least, and is refused the most."""
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    made = []
    for number in range(15):
        given = {
            "name": f"Profile {number:02}", "api_client_id": client["id"], "auth_type": "token",
            "api_collection_ids": [collection["id"]],
        }  # fmt: skip
        profile = api.done("POST", "api_access_profiles", given)["result"]
        ids = {"client_id": client["id"], "profile_id": profile["id"]}
        made.append(ids)
        minute = {"time": int(time.time()) // 60 * 60 - 60, "collection_id": collection["id"]}
        MinuteCount.objects.create(**minute, **ids, status=2, calls=1000 - 50 * number)
        if number:
            code = describe(Reason.QUOTA_EXCEEDED).code
            MinuteCount.objects.create(**minute, **ids, status=4, reason=code, calls=number)
    log(1, reason=Reason.QUOTA_EXCEEDED, **made[-1])
    return made


def test_who_is_refused_and_why_takes_three_clicks(
    reader: Reader, profiles: list[dict[str, int]]
) -> None:
    reader.at("/usage")
    assert "Profile 14" not in reader.page
    reader.clicks = 0
    reader.click("sort=refused")
    assert reader.page.index("Profile 14") < reader.page.index("Profile 13")
    reader.click("Refused calls of Profile 14")
    assert f"profile={profiles[-1]['profile_id']}" in reader.path
    assert "Quota exceeded" in reader.page
    reader.click("Request ")
    assert "Refused: Quota exceeded" in reader.page
    assert reader.clicks == 3


@pytest.mark.usefixtures("profiles")
def test_each_reason_number_and_bar_leads_to_its_calls(reader: Reader) -> None:
    page = reader.at("/usage?days=7")
    assert "Policy violations" not in page
    [reason] = re.findall(r'href="(/logs\?[^"]*reason=quota_exceeded)"', page)
    reader.at(reason)
    assert len(reader.rows()) == 1
    for number in re.findall(r'<dd><a href="(/logs\?[^"]*)"', page):
        reader.at(number)
        assert len(reader.rows()) == 1, number
    assert len(set(re.findall(r'data-logs="([^"]*outcome=refused)"', page))) == 1
    reader.at("/usage?days=7")
    reader.click("Calls in the logs")
    assert len(reader.rows()) == 1


@pytest.mark.usefixtures("profiles")
def test_bars_are_relative_to_the_largest_and_have_the_colour_of_what_they_count(
    reader: Reader,
) -> None:
    page = reader.at("/usage?sort=refused")
    consumers = page.partition("Most refused consumers")[2].partition("</table>")[0]
    widths = [float(each) for each in re.findall(r'class="refused" width="([\d.]+)"', consumers)]
    assert widths[0] == 100
    assert widths == sorted(widths, reverse=True)
    assert len(widths) == 10
    assert 'class="success"' not in consumers


@pytest.mark.usefixtures("profiles")
def test_charts_begin_with_the_first_call(reader: Reader) -> None:
    page = reader.at("/usage?days=30")
    calls = page.partition('aria-labelledby="calls-title')[2].partition("</svg>")[0]
    assert calls.count('class="column"') == 1
    assert "The charts begin with the first call of this time" in page


@pytest.mark.parametrize(
    ("largest", "top"), [(0, 1), (1, 1), (3, 3), (12, 15), (830_000, 1_000_000), (101, 150)]
)
def test_a_scale_ends_just_above_the_largest_value(largest: int, top: int) -> None:
    buckets = charts.Buckets(labels=["now"], told=["now"], logs=[""])
    chart = charts.stacked(buckets, [("success", [largest])], height=220)
    assert chart.y_ticks[-1].text == charts.short(top)
    assert len(chart.y_ticks) <= 6


def test_the_newest_bucket_has_a_label_and_few_stand_at_the_right() -> None:
    labels = [str(day) for day in range(30)]
    chart = charts.stacked(charts.Buckets(labels=labels, told=labels, logs=labels), [], height=220)
    assert next(tick.text for tick in chart.x_ticks if tick.always) == "29"
    assert sum(tick.always for tick in chart.x_ticks) <= 4
    few = charts.Buckets(labels=labels[:2], told=labels[:2], logs=labels[:2])
    assert few.left(1) + few.step == pytest.approx(100)
    assert few.step < 15
