"""What `make dev` takes over of a package that its author edits."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from jobchain.chains.loading import ChainSource
from local.chain_packages import Prepared
from local.live_packages import LivePackages

LOADED = ["rules-package has changed: loaded."]


class World:
    """An author's package with a module and a package of modules, and what a check says of the text of the module."""

    def __init__(self, folder: Path) -> None:
        self.module = folder / "author" / "rules.py"
        self.inner = folder / "author" / "rules_more" / "words.md"
        self.inner.parent.mkdir(parents=True)
        self.live = LivePackages(folder / "live")
        self._second = 0
        self.write(self.module, "good")
        self.write(self.inner, "words")

    def start(self) -> None:
        chains = {
            name: ChainSource(name, reference, "rules-package")
            for name, reference in (("rules", "rules:chain"), ("more", "rules_more.chains:chain"))
        }
        modules = (self.module, self.inner.parent)
        self.copies = self.live.put(Prepared(self.module.parent, chains, modules, ()))

    def write(self, file: Path, text: str) -> None:
        self._second += 1
        file.write_text(text)
        os.utime(file, (self._second, self._second))

    def look(self) -> list[str]:
        return self.live.take_changes(self._check)

    def _check(self, folders: Sequence[str]) -> Mapping[str, str]:
        (folder,) = folders
        file = Path(folder) / "rules.py"
        return {} if "good" in file.read_text() else {"rules": f"a fault ({file}:1)"}

    @property
    def served(self) -> str:
        return self.copies[0].read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_did_not_change_is_not_looked_at(world: World) -> None:
    world.start()

    assert world.look() == []


def test_a_change_that_can_be_used_is_taken_over(world: World) -> None:
    world.start()
    world.write(world.module, "good and new")

    assert world.look() == LOADED
    assert world.served == "good and new"
    assert world.look() == []


def test_a_change_that_can_not_be_used_leaves_what_worked_and_names_the_authors_own_file(world: World) -> None:
    world.start()
    world.write(world.module, "bad")

    assert world.look() == [
        "rules-package has changed and can't be used. The version before goes on:",
        f"warning: a fault ({world.module}:1)",
    ]
    assert world.served == "good"
    assert world.look() == []

    world.write(world.module, "good again")
    assert world.look() == LOADED
    assert world.served == "good again"


def test_a_package_that_never_worked_has_nothing_to_go_on_with(world: World) -> None:
    world.write(world.module, "bad")
    world.start()
    world.write(world.module, "worse")

    assert world.look() == [
        "rules-package has changed, and can't be used:",
        f"warning: a fault ({world.module}:1)",
    ]
    assert world.served == "worse"


def test_a_file_that_an_editor_moves_away_for_a_moment_is_waited_for(world: World) -> None:
    world.start()
    world.module.rename(moved := world.module.with_suffix(".bak"))
    assert world.look() == []

    moved.rename(world.module)
    world.write(world.module, "good and saved")
    assert world.look() == LOADED


def test_files_of_a_package_are_taken_over_with_those_that_were_removed(world: World) -> None:
    world.write(world.inner.with_name("old.md"), "old")
    world.start()
    world.inner.with_name("old.md").unlink()
    world.write(world.inner, "new words")

    assert [world.look(), world.look()] == [[], LOADED]
    assert {path.name: path.read_text() for path in world.copies[1].iterdir()} == {"words.md": "new words"}


def test_a_deployment_keeps_the_copies_of_packages_that_are_still_there(world: World) -> None:
    world.start()
    world.write(world.module, "bad")
    world.start()

    assert world.served == "good"
    assert world.look()[0] == "rules-package has changed and can't be used. The version before goes on:"


def test_the_lock_of_an_editor_ends_nothing(world: World) -> None:
    world.start()
    (world.inner.parent / ".#words.md").symlink_to("somebody@here.1:2")
    world.write(world.inner, "other words")

    assert world.look() == LOADED
