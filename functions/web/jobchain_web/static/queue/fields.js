/** The fields of a form that a JSON Schema describes, and the payload that they hold. */

import { Problem } from "./api.js";
import { h } from "./dom.js";
import { count, words } from "./format.js";

const MOST_BYTES = 256 * 1024;
const SHORT = 500; // characters; a longer field gets a text area
const EXAMPLES = { array: '["a", "b"]', object: '{"a": 1}' };

const length = (text) => [...text.trim()].length;

/** A part of a schema with what it refers to in its place: its type, its choices, and whether it may be null. */
function kindOf(part, root) {
  const { $ref: reference, anyOf: members, allOf: all, ...own } = part;
  if (reference) return { ...kindOf(root.$defs?.[reference.split("/").at(-1)] ?? {}, root), ...own };
  if (all?.length === 1) return { ...kindOf(all[0], root), ...own };
  if (members) {
    const kinds = members.map((member) => kindOf(member, root));
    const others = kinds.filter(({ type }) => type !== "null");
    const canBeNull = others.length < kinds.length;
    return others.length === 1 ? { ...others[0], ...own, canBeNull } : { ...own, canBeNull };
  }
  if ("const" in own) return { ...own, choices: [own.const] };
  return { ...own, choices: own.enum };
}

/** A text as a field shows a value. */
const shown = (value, { type, choices }) => {
  if (value == null) return "";
  if (choices) return JSON.stringify(value);
  return type === "string" ? value : JSON.stringify(value);
};

/**
 * The field of one part of the payload.
 * @param {(file: File) => void} take called when a file's text was put into the field
 */
export function field(name, part, root, take) {
  const kind = kindOf(part, root);
  const id = `field-${name}`;
  const required = (root.required ?? []).includes(name) && !kind.canBeNull;
  const props = { id, name, required, "aria-describedby": `${id}-note` };
  const label = h.label({ for: id }, h.span(words(name), !required && h.span({ class: "muted" }, " (optional)")));
  const value = shown(kind.default, kind);
  const { description, type, choices, minimum, maximum, maxLength: most = 100_000 } = kind;
  const note = (text) => h.span({ class: "muted small foreign", id: `${id}-note`, dir: "auto" }, [description, text].filter(Boolean).join(" · "));
  const plain = (text, ...content) => h.div({ key: name }, label, content, note(text));
  if (choices || type === "boolean") {
    const values = choices ?? [true, false];
    const told = (one) => (type === "boolean" ? (one ? "yes" : "no") : typeof one === "string" ? one : JSON.stringify(one));
    const empty = !required || kind.default === undefined ? h.option({ value: "" }, required ? "choose" : "not given") : null;
    return plain("", h.select(props, empty, values.map((one) => {
      const text = JSON.stringify(one);
      return h.option({ value: text, selected: text === JSON.stringify(kind.default) }, told(one));
    })));
  }
  if (type === "integer" || type === "number") {
    const range = [minimum !== undefined && `from ${minimum}`, maximum !== undefined && `to ${maximum}`].filter(Boolean).join(" ");
    return plain(range, h.input({ ...props, type: "number", value, min: minimum, max: maximum, step: type === "integer" ? 1 : "any" }));
  }
  if (isLines(kind, root)) return plain("one entry per line", h.textarea({ ...props, rows: 4, dir: "auto" }, (kind.default ?? []).join("\n")));
  if (type !== "string") {
    const example = EXAMPLES[type] ? `, such as ${EXAMPLES[type]}` : "";
    return plain(`JSON${example}`, h.textarea({ ...props, rows: 4, class: "code", spellcheck: "false" }, value));
  }
  if (most <= SHORT) return plain("", h.input({ ...props, value, maxlength: most, dir: "auto" }));
  return textField(name, { label, props, value, most, description, take });
}

const isLines = (kind, root) => kind.type === "array" && kindOf(kind.items ?? {}, root).type === "string" && !kindOf(kind.items, root).choices;

function textField(name, { label, props, value, most, description, take }) {
  const note = props["aria-describedby"];
  const tell = (text, bad) =>
    Object.assign(document.getElementById(note), { textContent: text, className: bad ? "failed small" : "muted small" });
  const size = (text) => tell(`${count(length(text))} of ${count(most)} characters`, length(text) > most);
  const receive = async (event, file) => {
    event.preventDefault();
    if (!file) return;
    const { text, fault } = await read(file, most);
    if (fault) return tell(`${file.name} ${fault}`, true);
    const area = document.getElementById(props.id);
    area.value = text;
    take(file);
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  return h.div({ key: name, ondragover: (event) => event.preventDefault(), ondrop: (event) => receive(event, event.dataTransfer.files[0]) },
    label, description && h.p({ class: "muted small foreign", dir: "auto" }, description),
    h.textarea({ ...props, rows: 10, dir: "auto", oninput: ({ target }) => size(target.value) }, value),
    h.div({ class: "under" },
      h.span({ class: "muted small", id: note, keep: true, key: note }, `Type, or drop a .txt or .md file: up to ${count(most)} characters. PDF, Word, HTML, RTF: jobchain submit FILE`),
      h.label({ class: "button small" }, "Choose a file",
        h.input({ type: "file", class: "unseen", accept: ".txt,.md", onchange: (event) => receive(event, event.target.files[0]) }))));
}

async function read(file, most) {
  if (!/\.(txt|md)$/i.test(file.name)) return { fault: "is neither .txt nor .md: jobchain submit reads PDF, Word, HTML and RTF files" };
  if (file.size > MOST_BYTES) return { fault: "is too large: the most is 256 KiB" };
  const text = await file.arrayBuffer().then((bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes)).catch(() => "\0");
  if (text.includes("\0")) return { fault: "is not a text in UTF-8" };
  if (!length(text) || length(text) > most) return { fault: `has ${count(length(text))} characters: give 1 to ${count(most)}` };
  return { text };
}

/** The payload in the fields. An empty field is left out. Raises Problem for a text that is no JSON. */
export function payloadOf(elements, root) {
  const payload = {};
  for (const [name, part] of Object.entries(root.properties ?? {})) {
    const text = elements.namedItem(name).value;
    const kind = kindOf(part, root);
    if (text === "") continue;
    if (isLines(kind, root)) payload[name] = text.split("\n").filter((line) => line.trim());
    else if (kind.type === "string" && !kind.choices) payload[name] = text;
    else payload[name] = json(name, text, kind);
  }
  return payload;
}

function json(name, text, { type }) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem(422, { detail: `${words(name)}: must be JSON${EXAMPLES[type] ? `, such as ${EXAMPLES[type]}` : ""}` });
  }
}
