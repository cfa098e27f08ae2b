"""The rules of axe-core."""

from pathlib import Path

from playwright.sync_api import Page

_AXE = next(Path(__file__).parent.glob("vendor/axe-core-*/axe.min.js")).read_text()


def violations(page: Page) -> list[str]:
    """What axe finds wrong in a page, whatever its impact."""
    page.evaluate(_AXE)
    found = page.evaluate("axe.run(document, {iframes: false})")["violations"]
    return [f"{one['id']}: {node['html']}: {node['failureSummary']}" for one in found for node in one["nodes"]]
