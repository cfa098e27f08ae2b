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
    'import("./box.js").then(({ Box: Same }) => console.log(Same === Box));\n'
    'import("./later-on.js").then(({ say }) => say(plus(one, new Box(all.one).value)));\n',
    "math.js": "const hidden = 1;\nexport const one = hidden;\nexport function add(a, b) {\n  return a + b;\n}\n",
    "box.js": 'import { one } from "./math.js";\nconst hidden = 5;\n'
    "export class Box {\n  constructor(n) {\n    this.value = n + hidden + one;\n  }\n}\n",
    "later-on.js": 'import { Box } from "./box.js";\nimport { told } from "./counter.js";\n'
    "export const say = (text) => {\n  told.push(new Box(text).value);\n  console.log(`it is ${told}`);\n"
    '  import("./last.js").then(({ add }) => add(2));\n};\nexport async function wait() {}\n',
    "last.js": 'import { told } from "./counter.js";\n'
    "export const add = (n) => {\n  told.push(n);\n  console.log(`it is ${told}`);\n};\n",
    "counter.js": 'console.log("made once");\nexport const told = [];\n',
    "counter.css": "p { color: red }",
    # As the dashboard's, but for a browser.
    "later.js": 'import { one } from "./math.js";\n'
    "export async function later(path, modules) {\n"
    "  await null;\n  const document = { currentScript: {} };\n"
    '  const { readFileSync } = process.getBuiltinModule("node:fs");\n'
    '  Function("document", readFileSync(path, "utf-8"))(document);\n'
    "  return document.currentScript.make(modules);\n}\nexport const style = (text) => console.log(text, one);\n",
}


def test_each_module_stands_once_before_those_that_import_it(write: Write) -> None:
    text = bundle(write(MODULES) / "main.js").text

    order = [text.index(f"const ${name} = ") for name in ("math", "box", "later", "modules", "main")]
    assert order == sorted(order)
    assert text.count("const $math = ") == 1
    assert 'from "./' not in text


def test_what_is_loaded_later_is_a_script_without_the_modules_of_the_page(write: Write) -> None:
    made = bundle(write(MODULES) / "main.js")

    scripts = {name.split(".")[0]: text for name, text in made.later.items()}
    assert set(scripts) == {"later/later-on", "later/last"}
    for name, text in made.later.items():
        assert name.split(".")[1] == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert "it is" not in made.text
    assert "class Box" not in scripts["later/later-on"]
    assert "const { $math, $box, $later } = $modules;" in scripts["later/later-on"]
    assert 'style("p { color: red }")' in scripts["later/last"]


def test_a_page_allows_the_scripts_that_it_loads_later_by_their_hashes(write: Write) -> None:
    html = '<script type="module" src="assets/main.js"></script>'

    page = inlined(write({**MODULES, "page.html": html}) / "page.html")

    assert len(page.later) == 2
    assert page.sources["script-src"].split()[1:] == [source(text) for text in page.later.values()]


def test_what_would_end_a_script_early_is_refused_in_one_that_is_loaded_later(write: Write) -> None:
    files = {**MODULES, "last.js": 'export const a = "</script>";', "page.html": ""}
    files["page.html"] = '<script type="module" src="assets/main.js"></script>'

    with pytest.raises(InlineError, match=r"later/last.* holds '</script'"):
        inlined(write(files) / "page.html")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed; the browser's tests run the dashboard's")
def test_a_bundle_does_what_its_modules_do_and_makes_each_once(write: Write, tmp_path: Path) -> None:
    made = bundle(write(MODULES) / "main.js")
    files = {"bundle.mjs": made.text, **{f"assets/{name}": text for name, text in made.later.items()}}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        ["node", "bundle.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )

    expected = "true\np { color: red } 1\nmade once\nit is 14\nit is 14,2\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")


def test_a_bundle_has_no_comments_on_lines_of_their_own(write: Write) -> None:
    module = '/** What it is.\n * @param x any *number* */\nexport const a = "http://x"; // here\n  // there\nb();\n'

    text = bundle(write({"a.js": module}) / "a.js").text

    assert text == 'const $a = (() => {\nconst a = "http://x"; // here\nb();\n\nreturn { a };\n})();'


FAULTY = {
    "b.js": 'import { a } from "./a.js";',
    "c.js": 'import("./d.js");',
    "d.js": 'import("./c.js");',
    "later.js": "",
}


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
        ('import("./b.js");', "a.js imports itself: a → b → a"),
        ('import("./c.js");', "c.js imports itself: c → d → c"),
    ],
)
def test_what_a_bundle_does_not_understand_is_refused(write: Write, text: str, problem: str) -> None:
    with pytest.raises(InlineError, match=problem):
        bundle(write({**FAULTY, "a.js": text}) / "a.js")
