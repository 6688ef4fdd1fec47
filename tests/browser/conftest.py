"""JupyterLab on a copy of the notebooks, and a headless Chromium that opens it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import Lab

ROOT = Path(__file__).resolve().parents[2]
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "the browser tests need Chromium on the PATH: on Debian `sudo apt-get install "
    "--no-install-recommends chromium`, on a Mac `brew install --cask chromium`"
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.exit(MISSING, returncode=1)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(path, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Lab(folder, port)
    process = server.start()
    try:
        server.wait(process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """An empty page; how it looks at the end of the test is kept."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000})
    yield opened
    opened.screenshot(path=tmp_path / "end.png")
    opened.close()
