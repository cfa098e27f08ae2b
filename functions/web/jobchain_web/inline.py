"""Inlines into a page the files that it loads.

A browser requests all files of a page at the same time, and each concurrent request needs its own environment of the
web function: a first visit would start one for every file. Therefore the files are separate as source, and are served
as one document.
"""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

_STYLESHEET = re.compile(r'<link rel="stylesheet" href="assets/([^"]+)">')
_SCRIPT = re.compile(r'<script(?P<module> type="module")? src="assets/(?P<name>[^"]+)"></script>')
_ICON = re.compile(r'(?<=")assets/([^"]+\.svg)(?=")')

_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "\./([\w-]+)\.js";$', re.MULTILINE)
_LATER = re.compile(r'\bimport\("\./([\w-]+)\.js"\)')
_EXPORT = re.compile(r"^export (?=(?:const|class|function|async function) (\w+))", re.MULTILINE)
_NOT_SUPPORTED = re.compile(r"^\s*(?:import|export)\b.*|\bimport\b\s*[({].*", re.MULTILINE)
# A comment on lines of its own: browsers do not need it.
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*(?:[^*]|\*(?!/))*\*/|//[^\n]*)\n", re.MULTILINE)
_LOADER = "later"
"""The module that loads scripts: `later(path, modules)`, and `style(text)` for their styles."""
# What would end a script or a style early.
_BREAKS_OUT = re.compile(r"</(?:script|style)|<!--", re.IGNORECASE)


class InlineError(ValueError):
    """A file can't be inlined; the message says which and why."""


@dataclass(frozen=True, slots=True)
class InlinedPage:
    """A page with its files inlined, and the sources of the Content-Security-Policy that allow them, by directive.

    `later` are the scripts that it loads when they are needed, by their names below `assets/`.
    """

    text: str
    sources: Mapping[str, str]
    later: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A module with all that it imports, and the scripts that it loads later, by their names below `assets/`."""

    text: str
    later: Mapping[str, str]


def inlined(page: Path) -> InlinedPage:
    """The page with its stylesheets, scripts, modules and SVG images inlined. Raises InlineError.

    The page names them by paths below `assets/`, which is its own folder. A script with `defer` is not inlined.
    """
    hashes: dict[str, list[str]] = {"script-src": [], "style-src": []}
    later: dict[str, str] = {}
    text = _STYLESHEET.sub(partial(_style, page.parent, hashes["style-src"]), page.read_text(encoding="utf-8"))
    text = _ICON.sub(partial(_image, page.parent), text)
    text = _SCRIPT.sub(partial(_script, page.parent, hashes["script-src"], later), text)
    sources = {directive: " ".join(dict.fromkeys(found)) for directive, found in hashes.items() if found}
    return InlinedPage(text, MappingProxyType(sources), MappingProxyType(later))


def _style(folder: Path, hashes: list[str], tag: re.Match[str]) -> str:
    text = (folder / tag[1]).read_text(encoding="utf-8")
    if "url(" in text or "@import" in text:
        raise InlineError(f"{tag[1]} names another file, whose relative path would differ in a page")
    return f"<style>{_hashed(text, tag[1], hashes)}</style>"


def _script(folder: Path, hashes: list[str], later: dict[str, str], tag: re.Match[str]) -> str:
    file = folder / tag["name"]
    made = bundle(file) if tag["module"] else Bundle(file.read_text(encoding="utf-8"), {})
    later.update(made.later)
    script = f"<script{tag['module'] or ''}>{_hashed(made.text, tag['name'], hashes)}</script>"
    for name, text in made.later.items():
        _hashed(text, name, hashes)
    return script


def _image(folder: Path, name: re.Match[str]) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode((folder / name[1]).read_bytes()).decode()}"


def _hashed(text: str, name: str, hashes: list[str]) -> str:
    """The text, after its hash is added to `hashes` in the form of a policy."""
    if breaks_out := _BREAKS_OUT.search(text):
        raise InlineError(f"{name} holds {breaks_out[0]!r}, which an inlined script or style must not")
    hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    return text


def bundle(module: Path) -> Bundle:
    """A module and all modules that it imports, directly or not, as one module. Raises InlineError.

    Each module becomes a function that is called once, in the order of the imports, and returns its exports. Comments
    on lines of their own are left out.
    `import { a, b as c } from "./x.js";`, `import * as x from "./x.js";` and `import("./x.js")` are supported, and
    `export` before a `const`, a `class` or a function.

    A module that only an `import("./x.js")` names is loaded when that runs, by the folder's `later.js`. It is one
    script with all that it imports and that is not in the page. The script gets the modules that are there already and
    adds its own to them, so that each exists once. If there is an `x.css`, the script has it too.
    """
    return _Bundler(module).bundle()


class _Bundler:
    """Makes one bundle."""

    def __init__(self, module: Path) -> None:
        self._folder, self._main = module.parent, module.stem
        self._page = self._closure(self._main, {})
        self._later: dict[str, str] = {}
        self._open: list[str] = []

    def bundle(self) -> Bundle:
        """The bundle."""
        main = self._page.pop(self._main)
        if any(name not in self._page for text in [*self._page.values(), main] for name in _LATER.findall(text)):
            self._page |= self._closure(_LOADER, self._page)
        functions = [self._function(name, text, self._page) for name, text in self._page.items()]
        ending = self._function(self._main, main, self._page)
        shared = [f"const $modules = {{ {_variables(self._page)} }};"] if self._later else []
        return Bundle("\n".join([*functions, *shared, ending]), MappingProxyType(self._later))

    def _closure(self, name: str, known: Collection[str], *importers: str) -> dict[str, str]:
        """The texts of a module and its imports by name, without the known ones: each after those that it imports."""
        if name in importers:
            raise InlineError(f"{name}.js imports itself: {' → '.join([*importers, name])}")
        if name in known:
            return {}
        text = self._read(f"{name}.js")
        found: dict[str, str] = {}
        for match in _IMPORT.finditer(text):
            found |= self._closure(match[3], {*known, *found}, *importers, name)
        return {**found, name: text}

    def _script(self, name: str) -> str:
        """The path of the script of a module that is loaded later; it is made, if it is not there."""
        if name in self._open:
            raise InlineError(f"{name}.js imports itself: {' → '.join([*self._open, name])}")
        self._open.append(name)
        modules = self._closure(name, self._page, self._main)
        functions = [
            self._function(module, text, {*self._page, *modules}, again=True) for module, text in modules.items()
        ]
        self._open.pop()
        text = "\n".join(
            [
                '"use strict";',
                "document.currentScript.make = ($modules) => {",
                f"const {{ {_variables(self._page)} }} = $modules;",
                *functions,
                f"return {_variable(name)};",
                "};",
            ]
        )
        path = f"later/{name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}.js"
        self._later[path] = text
        return path

    def _function(self, name: str, text: str, there: Collection[str], *, again: bool = False) -> str:
        """A module as a function that is called; `there` are the modules that need not be loaded."""

        def use_later(found: re.Match[str]) -> str:
            if found[1] in there:
                return f"Promise.resolve({_variable(found[1])})"
            return f'{_variable(_LOADER)}.later("assets/{self._script(found[1])}", $modules)'

        exports = ", ".join(_EXPORT.findall(text))
        unknown = _NOT_SUPPORTED.search(_EXPORT.sub("", _LATER.sub("", _IMPORT.sub("", _COMMENT.sub("", text)))))
        if unknown:
            raise InlineError(f"{name}.js: {unknown[0].strip()!r} is not supported: see `bundle`")
        body = _COMMENT.sub("", _EXPORT.sub("", _LATER.sub(use_later, _IMPORT.sub(_use, text))))
        own = f"$modules.{_variable(name)} ??= " if again else ""
        style = self._style(name) if again else ""
        return f"const {_variable(name)} = {own}(() => {{\n{style}{body}\nreturn {{ {exports} }};\n}})();"

    def _read(self, file: str) -> str:
        return (self._folder / file).read_text(encoding="utf-8")

    def _style(self, name: str) -> str:
        file = f"{name}.css"
        has_one = (self._folder / file).is_file()
        return f"{_variable(_LOADER)}.style({json.dumps(self._read(file))});\n" if has_one else ""


def _use(found: re.Match[str]) -> str:
    names, everything, module = found.groups()
    return f"const {everything or '{' + names.replace(' as ', ': ') + '}'} = {_variable(module)};"


def _variables(modules: Iterable[str]) -> str:
    return ", ".join(map(_variable, modules))


def _variable(module: str) -> str:
    return f"${module.replace('-', '_')}"
