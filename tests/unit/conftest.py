"""What makes a unit test slow: the emulated table or queue, or a process of its own."""

import subprocess

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what calls moto as `slow`: each call costs milliseconds, and there are thousands."""
    for item in items:
        if "/unit/" in item.nodeid and "aws" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test that starts a process and is not marked as `slow`."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("this test starts a process: mark it with pytest.mark.slow")

    if not request.node.get_closest_marker("slow"):
        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
