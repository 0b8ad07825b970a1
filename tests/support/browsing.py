"""A real browser for tests of pages: Debian's chromium, driven by Playwright, never downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; the test is skipped where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}: apt-get install chromium")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page whose requests and complaints are written down."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing left the machine and nothing was complained of."""
        outside = [url for url in self.requests if not url.startswith(("file://", "data:", "blob:"))]
        assert (outside, self.errors) == ([], [])


@contextmanager
def watched_page(browser: Any, **settings: Any) -> Iterator[Watched]:
    """A page in a context of its own; `check` is called at the end."""
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
    watched = Watched(context.new_page())
    watched.page.set_default_timeout(10_000)
    watched.page.on("request", lambda request: watched.requests.append(request.url))
    watched.page.on("console", lambda message: watched.errors.append(f"{message.type}: {message.text}"))
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on("dialog", lambda dialog: watched.errors.append(f"dialog: {dialog.message}"))
    try:
        yield watched
        watched.check()
    finally:
        context.close()


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours written as #rgb or #rrggbb (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.strip().removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


#: Everything that a screen reader could not name, header cells without a scope, and a page wider than its window.
AUDIT = """() => {
  const found = [];
  const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby");
  for (const e of document.querySelectorAll("input, select, textarea"))
    if (!named(e)) found.push("no label: " + e.outerHTML);
  for (const e of document.querySelectorAll("button, a[href], summary"))
    if (!e.textContent.trim() && !e.getAttribute("aria-label")) found.push("no name: " + e.outerHTML);
  for (const e of document.querySelectorAll("th")) if (!e.scope) found.push("no scope: " + e.outerHTML);
  for (const e of document.querySelectorAll("table"))
    if (!e.querySelector("th")) found.push("no headers: " + e.outerHTML);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) found.push("id twice: " + id);
  if (!document.documentElement.lang) found.push("no language");
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  const wide = document.documentElement.scrollWidth;
  if (wide > window.innerWidth) found.push(`scrolls sideways: ${wide} in ${window.innerWidth}`);
  return found;
}"""
