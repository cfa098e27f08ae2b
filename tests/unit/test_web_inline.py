"""A page's files are put into the page, and a module's imports into the module."""

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from jobchain_web.inline import InlineError, bundle, inlined

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files; gives their folder."""

    def to_folder(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return to_folder


def source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_a_page_has_its_files_in_it_and_their_hashes_in_its_policy(write: Write) -> None:
    # given
    folder = write(
        {
            "page.html": (
                '<link rel="icon" href="assets/i.svg"><link rel="stylesheet" href="assets/a.css">'
                '<script src="assets/a.js"></script><script type="module" src="assets/m/b.js"></script>'
            ),
            "i.svg": "<svg/>",
            "a.css": "p { color: red }",
            "a.js": "a();",
            "m/b.js": "b();",
        }
    )

    # when
    page = inlined(folder / "page.html")

    # then
    module = "const $b = (() => {\nb();\nreturn {  };\n})();"
    assert page.text == (
        f'<link rel="icon" href="data:image/svg+xml;base64,{base64.b64encode(b"<svg/>").decode()}">'
        f'<style>p {{ color: red }}</style><script>a();</script><script type="module">{module}</script>'
    )
    assert page.sources == {
        "script-src": f"{source('a();')} {source(module)}",
        "style-src": source("p { color: red }"),
    }


def test_a_deferred_script_stays_a_file(write: Write) -> None:
    html = '<script defer src="assets/a.js"></script>'

    assert inlined(write({"page.html": html}) / "page.html").text == html


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.css": "p { background: url(x.png) }"}, "a.css names another file"),
        ({"a.css": '@import "x.css";'}, "a.css names another file"),
        ({"a.css": "/* </style> */"}, "a.css holds '</style'"),
        ({"a.js": 'a("</SCRIPT>")'}, "a.js holds '</SCRIPT'"),
        ({"a.js": "// <!-- "}, "a.js holds '<!--'"),
    ],
)
def test_a_file_that_would_be_another_one_in_the_page_is_refused(
    write: Write, files: dict[str, str], problem: str
) -> None:
    html = '<link rel="stylesheet" href="assets/a.css"><script src="assets/a.js"></script>'

    with pytest.raises(InlineError, match=problem):
        inlined(write({"a.css": "", "a.js": "", **files, "page.html": html}) / "page.html")


MODULES = {
    "main.js": 'import { one, add as plus } from "./math.js";\nimport * as all from "./math.js";\n'
    'import {\n  Box,\n} from "./box.js";\n'
    'import("./later-on.js").then(({ say }) => say(plus(one, new Box(all.one).value)));\n',
    "math.js": "const hidden = 1;\nexport const one = hidden;\nexport function add(a, b) {\n  return a + b;\n}\n",
    "box.js": 'import { one } from "./math.js";\nconst hidden = 5;\n'
    "export class Box {\n  constructor(n) {\n    this.value = n + hidden + one;\n  }\n}\n",
    "later-on.js": "export const say = (text) => console.log(`it is ${text}`);\nexport async function wait() {}\n",
}


def test_each_module_stands_once_before_those_that_import_it(write: Write) -> None:
    text = bundle(write(MODULES) / "main.js")

    order = [text.index(f"const ${name} = ") for name in ("math", "box", "later_on", "main")]
    assert order == sorted(order)
    assert text.count("const $math = ") == 1
    assert 'from "./' not in text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed; the browser's tests run the dashboard's")
def test_a_bundle_does_what_its_modules_do(write: Write, tmp_path: Path) -> None:
    (tmp_path / "bundle.mjs").write_text(bundle(write(MODULES) / "main.js"))

    done = subprocess.run(
        ["node", "bundle.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "it is 8\n", "")


def test_a_bundle_has_no_comments_on_lines_of_their_own(write: Write) -> None:
    module = '/** What it is.\n * @param x any *number* */\nexport const a = "http://x"; // here\n  // there\nb();\n'

    text = bundle(write({"a.js": module}) / "a.js")

    assert text == 'const $a = (() => {\nconst a = "http://x"; // here\nb();\n\nreturn { a };\n})();'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("export default 1;", "'export default 1;' is not supported"),
        ("export let a = 1;", "'export let a = 1;' is not supported"),
        ("const a = 1;\nexport { a };", r"'export \{ a \};' is not supported"),
        ('import a from "./b.js";', "import a from"),
        ('import "./b.js";', "is not supported"),
        ("import(name);", "is not supported"),
        ('import { a } from "./a.js";', "a.js imports itself: a → a"),
    ],
)
def test_what_a_bundle_does_not_understand_is_refused(write: Write, text: str, problem: str) -> None:
    with pytest.raises(InlineError, match=problem):
        bundle(write({"a.js": text}) / "a.js")
