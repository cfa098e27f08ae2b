import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.shim import SourceHandler

Write = Callable[[str, str], None]


@pytest.fixture
def package() -> Iterator[str]:
    """The name of a package that no other test has; what a test imports goes with it."""
    path, name = [*sys.path], f"tiny_{uuid.uuid4().hex}"
    yield name
    sys.path[:] = path
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def write(tmp_path: Path, package: str) -> Write:
    """Writes a file of the package; each one is newer than the ones before."""
    changed = [1_700_000_000_000_000_000]

    def write(name: str, text: str) -> None:
        path = tmp_path / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        changed[0] += 1  # within the same second, so that a compiled file looks current
        os.utime(path, ns=(changed[0], changed[0]))

    write("handler.py", f"from {package}.answer import ANSWER\ndef handle(event, context): return ANSWER\n")
    return write


def test_changed_code_is_taken_over_though_its_size_and_second_are_the_same(
    tmp_path: Path, package: str, write: Write
) -> None:
    write("answer.py", "ANSWER = 1\n")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=True)
    assert handler({}, None) == 1

    write("answer.py", "ANSWER = 2\n")

    assert handler({}, None) == 2


def test_a_changed_data_file_beside_the_code_is_taken_over(tmp_path: Path, package: str, write: Write) -> None:
    write("answer.py", "from pathlib import Path\nANSWER = Path(__file__).with_name('prompt.txt').read_text()\n")
    write("prompt.txt", "old")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=True)
    assert handler({}, None) == "old"

    write("prompt.txt", "new")

    assert handler({}, None) == "new"


def test_a_changed_module_of_another_folder_is_taken_over_and_its_neighbours_are_left_alone(
    tmp_path: Path, package: str, write: Write
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    module, neighbour = other / f"{package}_chain.py", other / f"{package}_tests.py"
    module.write_text(f"import {package}_tests\nANSWER = 'old', id({package}_tests)\n")
    neighbour.write_text("")
    write("answer.py", f"from {package}_chain import ANSWER\n")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=True, modules=[str(module)])
    _, first = handler({}, None)

    module.write_text(f"import {package}_tests\nANSWER = 'new', id({package}_tests)\n")
    os.utime(module, ns=(module.stat().st_mtime_ns + 1,) * 2)

    assert handler({}, None) == ("new", first)


def test_unchanged_code_keeps_its_modules(tmp_path: Path, package: str, write: Write) -> None:
    write("answer.py", "ANSWER = object()\n")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=True)

    assert handler({}, None) is handler({}, None)


def test_without_reload_a_change_is_not_looked_for(tmp_path: Path, package: str, write: Write) -> None:
    write("answer.py", "ANSWER = 1\n")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=False)
    assert handler({}, None) == 1

    write("answer.py", "ANSWER = 2\n")

    assert handler({}, None) == 1


def test_a_broken_edit_shows_its_traceback_and_the_next_good_one_recovers(
    tmp_path: Path, package: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write("answer.py", "ANSWER = 1\n")
    handler = SourceHandler([str(tmp_path)], f"{package}.handler.handle", reload=True)
    assert handler({}, None) == 1

    write("answer.py", "ANSWER = nonsense\n")
    with pytest.raises(NameError):
        handler({}, None)
    assert "NameError: name 'nonsense' is not defined" in capsys.readouterr().err

    write("answer.py", "ANSWER = 3\n")
    assert handler({}, None) == 3


def test_the_first_root_wins(tmp_path: Path, package: str, write: Write) -> None:
    write("answer.py", "ANSWER = 'function'\n")
    layer = tmp_path / "layer" / package
    layer.mkdir(parents=True)
    (layer / "answer.py").write_text("ANSWER = 'layer'\n")
    (layer / "handler.py").write_text("")

    handler = SourceHandler([str(tmp_path), str(tmp_path / "layer")], f"{package}.handler.handle", reload=False)

    assert handler({}, None) == "function"
