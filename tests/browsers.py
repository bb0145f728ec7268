"""Which Chromium the tests drive."""

import shutil


def browser_program() -> str | None:
    """Its path; None: the one that Playwright has.

    The headless shell comes first: for a page, it takes half of the time of a processor, since it has no
    windows.
    """
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)
