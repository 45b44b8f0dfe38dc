"""A real Chromium without a window, driven through selenium; where it is missing, tests that need it say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Debian's chromium and chromium-driver are missing"
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--hide-scrollbars"),
)


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Any]:
    """Open a browser whose profile and downloads lie in a folder; its console can be read.

    Args:
        folder: an empty one.
        flags: further ones of Chromium's command line.
    """
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", *flags):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = Chrome(options, ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser: Any, width: int, height: int) -> None:
    """Give the page a width and a height in CSS pixels, as a phone has them; a window cannot be as narrow."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
