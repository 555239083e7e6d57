"""A real headless browser for pages that the package writes: `browser` and `open_page` are fixtures of all tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

_RUNNING: list[object] = []
_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the program, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium; the test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install playwright")
    found = chromium()
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} on this machine")
    if _RUNNING:  # a test file that imports the fixture has one of its own, but playwright runs once
        yield _RUNNING[0]
        return
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        _RUNNING.append(running)
        yield running
        _RUNNING.clear()
        running.close()


@pytest.fixture
def open_page(browser):
    """Open a file as a user does: `page = open_page(path, width=1280, height=900, dark=False)`.

    It returns a page of playwright with `page.problems`, a list that grows: errors on the console, exceptions in
    scripts, dialogs, and requests for anything but files and data. It should be empty in the end. `fragment` is what
    follows # in the address; `scripts=False` is a browser without JavaScript.
    """
    contexts = []

    def call(path: Path, width: int = 1280, height: int = 900, dark: bool = False, fragment: str = "", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            offline=True,
        )
        contexts.append(context)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.problems = problems = []
        _watch(page, problems)
        page.goto(Path(path).resolve().as_uri() + (f"#{fragment}" if fragment else ""))
        return page

    yield call
    for context in contexts:
        context.close()


def _watch(page: object, problems: list[str]) -> None:
    def dialog(shown: object) -> None:
        problems.append(f"dialog: {shown.message}")
        shown.dismiss()

    page.on("dialog", dialog)
    page.on("console", lambda said: said.type in ("error", "warning") and problems.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
    page.on(
        "request",
        lambda sent: sent.url.startswith(("file:", "data:")) or problems.append(f"request: {sent.url}"),
    )


def sideways(page: object) -> int:
    """Return by how many pixels the page is wider than its window; 0 where it does not scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
