"""Scraping the metrics as Prometheus does."""

from prometheus_client.parser import text_string_to_metric_families
from tests.stage import Answer, Stage, ask

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def answer(stage: Stage, token: str | None, path: str = "/metrics") -> Answer:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return ask(stage.control, "GET", path, headers=headers)


def scrape(stage: Stage) -> Samples:
    """Every sample of a scrape: (name, sorted labels) → value."""
    told = answer(stage, stage.token)
    assert told.status == 200, told.body
    found: Samples = {}
    for family in text_string_to_metric_families(told.body.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of what has the name, and at least the labels."""
    return sum(
        number
        for (found, has), number in samples.items()
        if found == name and labels.items() <= dict(has).items()
    )
