"""Inlines into a page the files that it loads.

A browser requests all files of a page at the same time, and each concurrent request needs its own environment of the
web function: a first visit would start one for every file. Therefore the files are separate as source, and are served
as one document.
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
_NOT_SUPPORTED = re.compile(r"^\s*(?:import|export)\b.*|\bimport\b\s*[({].*", re.MULTILINE)
# A comment on lines of its own: browsers do not need it.
_COMMENT = re.compile(r"^[ \t]*(?:/\*\*(?:[^*]|\*(?!/))*\*/|//[^\n]*)\n", re.MULTILINE)
# What would end a script or a style early.
_BREAKS_OUT = re.compile(r"</(?:script|style)|<!--", re.IGNORECASE)


class InlineError(ValueError):
    """A file can't be inlined; the message says which and why."""


@dataclass(frozen=True, slots=True)
class InlinedPage:
    """A page with its files inlined, and the sources of the Content-Security-Policy that allow them, by directive."""

    text: str
    sources: Mapping[str, str]


def inlined(page: Path) -> InlinedPage:
    """The page with its stylesheets, scripts, modules and SVG images inlined. Raises InlineError.

    The page names them by paths below `assets/`, which is its own folder. A script with `defer` is not inlined.
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
        raise InlineError(f"{tag[1]} names another file, whose relative path would differ in a page")
    return f"<style>{_hashed(text, tag[1], hashes)}</style>"


def _script(folder: Path, hashes: list[str], tag: re.Match[str]) -> str:
    file = folder / tag["name"]
    text = bundle(file) if tag["module"] else file.read_text(encoding="utf-8")
    return f"<script{tag['module'] or ''}>{_hashed(text, tag['name'], hashes)}</script>"


def _image(folder: Path, name: re.Match[str]) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode((folder / name[1]).read_bytes()).decode()}"


def _hashed(text: str, name: str, hashes: list[str]) -> str:
    """The text, after its hash is added to `hashes` in the form of a policy."""
    if breaks_out := _BREAKS_OUT.search(text):
        raise InlineError(f"{name} holds {breaks_out[0]!r}, which an inlined script or style must not")
    hashes.append(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'")
    return text


def bundle(module: Path) -> str:
    """A module and all modules that it imports, directly or not, as one module. Raises InlineError.

    Each module becomes a function that is called once, in the order of the imports, and returns its exports. Comments
    on lines of their own are left out.
    `import { a, b as c } from "./x.js";`, `import * as x from "./x.js";` and `import("./x.js")` are supported, and
    `export` before a `const`, a `class` or a function.
    """
    modules = _Modules(module.parent)
    modules.add(module.stem)
    return "\n".join(modules.texts.values())


@dataclass(frozen=True, slots=True)
class _Modules:
    """The needed modules of a folder by name, each after those that it imports."""

    folder: Path
    texts: dict[str, str] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Adds a module and its imports, each once."""
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
    body = _COMMENT.sub("", body)
    if unknown := _NOT_SUPPORTED.search(body):
        raise InlineError(f"{name}.js: {unknown[0].strip()!r} is not supported: see `bundle`")
    return f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {exports} }};\n}})();"


def _use(found: re.Match[str]) -> str:
    names, everything, module = found.groups()
    return f"const {everything or '{' + names.replace(' as ', ': ') + '}'} = {_variable(module)};"


def _variable(module: str) -> str:
    return f"${module.replace('-', '_')}"
