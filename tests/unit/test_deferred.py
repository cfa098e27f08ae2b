"""Packages that are executed only when something asks for their content."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from jobchain.deferred import Places, defer

PLACES: Places = {"made_up": {"place": "made_up.places", "gone": "made_up.places"}, "made_up.inner": {}}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package that says when it is executed."""
    inner = tmp_path / "made_up" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "made_up" / "__init__.py").write_text(
        "import sys\nsys.executed.append(__name__)\nall = place = gone = 1\n"
    )
    (tmp_path / "made_up" / "places.py").write_text("place = 'where it is defined'\n")
    (inner / "__init__.py").write_text("import sys\nsys.executed.append(__name__)\nvalue = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "executed", [], raising=False)
    yield "made_up"
    for name in [name for name in sys.modules if name.split(".")[0] == "made_up"]:
        del sys.modules[name]


def executed() -> list[str]:
    found: list[str] = vars(sys)["executed"]
    return found


class TestADeferredPackage:
    def test_is_not_executed_for_a_submodule(self, package: str) -> None:
        defer(PLACES)

        assert import_module("made_up.places").place == "where it is defined"
        assert executed() == []

    def test_is_not_executed_for_a_name_whose_place_is_known(self, package: str) -> None:
        defer(PLACES)

        assert import_module(package).place == "where it is defined"
        assert executed() == []

    @pytest.mark.parametrize("name", ["all", "gone"])
    def test_is_executed_once_for_another_name_or_one_that_is_not_in_its_place(self, package: str, name: str) -> None:
        defer(PLACES)

        assert [getattr(import_module(package), name) for _ in range(2)] == [1, 1]
        assert executed() == ["made_up"]

    def test_has_no_name_that_the_package_does_not_have(self, package: str) -> None:
        defer(PLACES)

        with pytest.raises(AttributeError, match="nothing"):
            _ = import_module(package).nothing

    def test_has_packages_in_it_that_are_deferred_too(self, package: str) -> None:
        defer(PLACES)

        assert import_module(package).inner.value == 2
        assert executed() == ["made_up.inner"]

    def test_stays_as_it_is_where_it_is_imported_already(self, package: str) -> None:
        before = import_module(package)
        defer(PLACES)

        assert import_module(package) is before
        assert before.place == 1

    def test_may_be_missing_with_all_that_is_in_it(self) -> None:
        defer({"no_such_package": {}, "no_such_package.inner": {}})

        assert "no_such_package.inner" not in sys.modules

    def test_may_be_missing(self) -> None:
        defer({"no_such_package": {}})

        assert "no_such_package" not in sys.modules
