"""Takes the pictures of README and docs: `scripts/pictures`, whenever the console changes.

The product is the real one, with the demo and a few clients more; what is shown once is made up on
the spot and worth nothing afterwards.
"""

import io
import re
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from tests.browsers import browser_program
from tests.stage import Stage, running

SIZE = {"width": 1360, "height": 800}
#: Colours of a picture: what the console shows has few, and a palette makes it a third of the size.
COLOURS = 128


def take(page: Page, folder: Path, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(folder / f"{name}.png", optimize=True)
    print(f"{name}.png: {(folder / f'{name}.png').stat().st_size // 1024} KB")


def populate(stage: Stage) -> None:
    orders = {"id": 1}
    for name, state in (
        ("Globex Corporation", True),
        ("Initech", True),
        ("Stark Logistics", False),
        ("Umbrella Health", True),
        ("Wayne Enterprises", True),
    ):
        client = stage.a_client(name)
        for profile in ("Nightly import", "Web shop"):
            stage.a_profile(orders, client=client, name=profile, ip_allow_list=["203.0.113.0/24"])
        if not state:
            stage.done("PUT", f"v2/api_clients/{client['id']}/disable")


def main(folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as data,
        running(Path(data), "--demo", "--print-secrets") as stage,
    ):
        populate(stage)
        link = re.search(r"http://\S+/sign-in/link#osts_\S+", "\n".join(stage.lines))
        assert link
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=browser_program(), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
            page.goto(link[0])
            for label in ("New password", "New password again"):
                page.get_by_label(label, exact=True).fill("correct horse battery staple")
            page.get_by_role("button", name="Set password").click()
            page.get_by_role("heading", level=1).wait_for()
            pictures(page, f"http://localhost:{stage.control}", folder)
            browser.close()


def pictures(page: Page, base: str, folder: Path) -> None:
    page.goto(f"{base}/clients")
    take(page, folder, "clients")
    page.goto(f"{base}/clients/1")
    take(page, folder, "client")
    page.goto(f"{base}/clients/2/profiles/new")
    page.get_by_label("Profile name", exact=True).fill("Mobile app")
    page.get_by_role("checkbox", name="Orders").check()
    page.get_by_label("Policy", exact=True).select_option(index=1)
    page.get_by_label("Allowed IPs", exact=True).press_sequentially(
        "106.226.100.3/20, 198.51.101.7"
    )
    page.get_by_text("(4,096 addresses)").wait_for()
    page.get_by_role("button", name="Next").click()
    take(page, folder, "new-profile")
    page.goto(f"{base}/endpoints/1/try")
    page.get_by_role("button", name="Send the call").click()
    page.get_by_role("region", name="Answer").get_by_text("200").wait_for()
    take(page, folder, "try")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{base}/collections/1")
    take(page, folder, "collection")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
