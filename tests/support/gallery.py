"""Make the README's pictures from what `compdd_eval demo` wrote: python -m tests.support.gallery demo_results

It needs Chromium and playwright, as the browser tests do.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from compdd_eval.__main__ import main
from tests.support.browser import FLAGS, chromium

FOLDER = Path(__file__).resolve().parents[2] / ".gallery"
_COLORS = 128
_WIDTH = 900  # pixels


def make(demo: Path) -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    _save(Image.open(demo / "round-easy-ipc10/distilled.png"), "distilled.png")
    _save(Image.open(demo / "accuracy.png"), "accuracy.png")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        site = Path(place) / "site"
        main(["leaderboard", str(demo), "--output", str(site)])
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        report = demo / "report.html"
        _photograph(browser, report, "report.png", (1200, 820), "#run2 .charts")
        _photograph(browser, report, "report-phone.png", (390, 820), "#run2", dark=True)
        _photograph(browser, site / "index.html", "leaderboard.png", (1280, 640), "h1")
        browser.close()


def _photograph(browser, path, name, size, shown, dark=False):
    page = browser.new_page(
        viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme="dark" if dark else "light"
    )
    page.goto(path.resolve().as_uri())
    page.evaluate("shown => document.querySelector(shown).scrollIntoView()", shown)
    _save(Image.open(io.BytesIO(page.screenshot())), name)


def _save(picture, name):
    picture = picture.convert("RGB")
    if picture.width > _WIDTH:
        picture = picture.resize((_WIDTH, round(picture.height * _WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture.quantize(_COLORS, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
