"""Puts what a page loads into the page itself.

A browser asks for all of a page's files at the same time, and each of such requests needs an environment of the web
function of its own: a first visit would start one for every file. So the files stay apart as source, and are one
document as they are served.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

_STYLESHEET = re.compile(r'<link rel="stylesheet" href="assets/([^"]+)">')
_SCRIPT = re.compile(r'<script(?P<module> type="module")? src="assets/(?P<name>[^"]+)"></script>')
_ICON = re.compile(r'(?<=")assets/([^"]+\.svg)(?=")')

_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "\./([\w-]+)\.js";$', re.MULTILINE)
_LATER = re.compile(r'\bimport\("\./([\w-]+)\.js"\)')
_EXPORT = re.compile(r"^export (?=(?:const|class|function|async function) (\w+))", re.MULTILINE)
_NOT_UNDERSTOOD = re.compile(r"^\s*(?:import|export)\b.*|\bimport\b\s*[({].*", re.MULTILINE)
# What would end a script or a style before its end.
_BREAKS_OUT = re.compile(r"</(?:script|style)|<!--", re.IGNORECASE)


class InlineError(ValueError):
    """A page's file can't be put into the page; says which and why."""


@dataclass(frozen=True, slots=True)
class InlinedPage:
    """A page with its files in it, and by directive the sources of the Content-Security-Policy that let them run."""

    text: str
    sources: Mapping[str, str]


def inlined(page: Path) -> InlinedPage:
    """The page with its stylesheets, scripts, modules and SVG images in it. Raises InlineError.

    It names them by paths below `assets/`, which is the page's own folder. A script with `defer` stays a file.
    """
    hashes: dict[str, list[str]] = {"script-src": [], "style-src": []}
    text = _STYLESHEET.sub(partial(_style, page.parent, hashes["style-src"]), page.read_text(encoding="utf-8"))
    text = _ICON.sub(partial(_image, page.parent), text)
    text = _SCRIPT.sub(partial(_script, page.parent, hashes["script-src"]), text)
    sources = {directive: " ".join(dict.fromkeys(found)) for directive, found in hashes.items() if found}
    return InlinedPage(text, MappingProxyType(sources))


def _style(folder: Path, hashes: list[str], tag: re.Match[str]) -> str:
    text = (folder / tag[1]).read_text(encoding="utf-8")
    if "url(" in text or "@import" in text:
        raise InlineError(f"{tag[1]} names another file: in a page its relative path would be another one")
    return f"<style>{_hashed(text, tag[1], hashes)}</style>"


def _script(folder: Path, hashes: list[str], tag: re.Match[str]) -> str:
    file = folder / tag["name"]
    text = bundle(file) if tag["module"] else file.read_text(encoding="utf-8")
    return f"<script{tag['module'] or ''}>{_hashed(text, tag['name'], hashes)}</script>"


def _image(folder: Path, name: re.Match[str]) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode((folder / name[1]).read_bytes()).decode()}"


def _hashed(text: str, name: str, hashes: list[str]) -> str:
    """The text; its hash, as a policy names it, is added to `hashes`."""
    if breaks_out := _BREAKS_OUT.search(text):
        raise InlineError(f"{name} holds {breaks_out[0]!r}, which no script or style in a page may")
    hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    return text


def bundle(module: Path) -> str:
    """A module and all that it imports, directly or not, as the text of one module. Raises InlineError.

    Each becomes a function that is called once, in the order of the imports, and gives its exports. Understood are
    `import { a, b as c } from "./x.js";`, `import * as x from "./x.js";` and `import("./x.js")`, and `export` before a
    `const`, a `class` or a function.
    """
    modules = _Modules(module.parent)
    modules.add(module.stem)
    return "\n".join(modules.texts.values())


@dataclass(frozen=True, slots=True)
class _Modules:
    """The modules of a folder as far as they are needed, by name, each after those that it imports."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Adds a module and what it imports, once."""
        if name in self._open:
            raise InlineError(f"{name}.js imports itself: {' → '.join([*self._open, name])}")
        if name in self.texts:
            return
        text = (self.folder / f"{name}.js").read_text(encoding="utf-8")
        self._open.append(name)
        for imported in [match[3] for match in _IMPORT.finditer(text)] + _LATER.findall(text):
            self.add(imported)
        self._open.pop()
        self.texts[name] = _as_function(name, text)


def _as_function(name: str, text: str) -> str:
    exports = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _LATER.sub(lambda match: f"Promise.resolve({_variable(match[1])})", _IMPORT.sub(_use, text)))
    if unknown := _NOT_UNDERSTOOD.search(body):
        raise InlineError(f"{name}.js: {unknown[0].strip()!r} is not understood: see `bundle`")
    return f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();"


def _use(found: re.Match[str]) -> str:
    names, everything, module = found.groups()
    return f"const {everything or '{' + names.replace(' as ', ': ') + '}'} = {_variable(module)};"


def _variable(module: str) -> str:
    return f"${module.replace('-', '_')}"
