"""What makes a unit test slow by itself: the emulated table or queue."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what calls moto as `slow`: each call costs milliseconds, and there are thousands."""
    for item in items:
        if "/unit/" in item.nodeid and "aws" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
