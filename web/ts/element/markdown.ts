// Markdown, as much of it as language models write in answers, straight into DOM nodes: paragraphs, headings, lists,
// fenced code, inline code, bold and italics. Everything else stays the text it is. No HTML is ever parsed and no link
// or image is ever made, so an answer cannot load, run or disguise anything.
//
// An answer arrives token by token. Blocks are compared with what is already shown, and only the tail that changed is
// built again: selection and scroll position in the settled part survive, and the work per token stays small.

import { button, h } from "./dom.js";

/** One block of an answer. */
export type Block =
  | { kind: "paragraph"; text: string }
  | { kind: "heading"; level: number; text: string }
  | { kind: "code"; language: string; text: string }
  | { kind: "list"; ordered: boolean; start: number; items: ListItem[] };

/** An item of a list; `depth` is 0 for the outermost level. */
export interface ListItem {
  depth: number;
  ordered: boolean;
  text: string;
}

const FENCE = /^(\s*)(```+|~~~+)\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^(\s*)(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/;
const MAX_DEPTH = 3;

/** Splits an answer, finished or not, into blocks. */
export function parseMarkdown(source: string): Block[] {
  const lines = source.replace(/\r\n?/g, "\n").split("\n");
  const blocks: Block[] = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (fence !== null) at = readCode(lines, at, fence, blocks);
    else if (heading !== null) {
      blocks.push({ kind: "heading", level: heading[1]?.length ?? 1, text: heading[2] ?? "" });
      at += 1;
    } else if (ITEM.test(line)) at = readList(lines, at, blocks);
    else if (line.trim() === "") at += 1;
    else at = readParagraph(lines, at, blocks);
  }
  return blocks;
}

function readCode(lines: readonly string[], from: number, fence: RegExpExecArray, blocks: Block[]): number {
  const [, indent = "", marker = "```", language = ""] = fence;
  const body: string[] = [];
  let at = from + 1;
  for (; at < lines.length; at += 1) {
    const line = (lines[at] ?? "").trim();
    if (line.startsWith(marker) && line.replaceAll(marker.charAt(0), "") === "") break;
    // Code inside a list item is indented as a whole, by as much as its fence.
    body.push(dedent(lines[at] ?? "", indent.length));
  }
  blocks.push({ kind: "code", language, text: body.join("\n") });
  return at + 1;
}

function dedent(line: string, most: number): string {
  const indent = /^\s*/.exec(line)?.[0].length ?? 0;
  return line.slice(Math.min(indent, most));
}

function readList(lines: readonly string[], from: number, blocks: Block[]): number {
  const items: ListItem[] = [];
  const first = ITEM.exec(lines[from] ?? "");
  const ordered = first?.[3] !== undefined;
  const indents: number[] = [];
  let at = from;
  for (; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    const match = ITEM.exec(line);
    const last = items.at(-1);
    if (match !== null) {
      const indent = (match[1] ?? "").replaceAll("\t", "    ").length;
      while (indents.length > 0 && indent < (indents.at(-1) ?? 0)) indents.pop();
      if (indents.length === 0 || indent > (indents.at(-1) ?? 0) + 1) indents.push(indent);
      const depth = Math.min(indents.length - 1, MAX_DEPTH);
      if (depth === 0 && (match[3] !== undefined) !== ordered) break;
      items.push({ depth, ordered: match[3] !== undefined, text: match[4] ?? "" });
    } else if (line.trim() === "") {
      if (!ITEM.test(lines[at + 1] ?? "") && !/^\s{2,}\S/.test(lines[at + 1] ?? "")) break;
    } else if (/^\s{2,}\S/.test(line) && last !== undefined && !FENCE.test(line)) last.text += `\n${line.trim()}`;
    else break;
  }
  blocks.push({ kind: "list", ordered, start: Number(first?.[3] ?? 1), items });
  return at;
}

function readParagraph(lines: readonly string[], from: number, blocks: Block[]): number {
  const body: string[] = [];
  let at = from;
  for (; at < lines.length; at += 1) {
    const line = lines[at] ?? "";
    if (line.trim() === "" || FENCE.test(line) || HEADING.test(line) || ITEM.test(line)) break;
    body.push(line.trim());
  }
  blocks.push({ kind: "paragraph", text: body.join("\n") });
  return at;
}

/** Shows an answer inside one element, and keeps it current as the answer grows. */
export class MarkdownView {
  readonly #root: HTMLElement;
  readonly #copy: (text: string, from: HTMLButtonElement) => void;
  #shown: { key: string; node: HTMLElement }[] = [];

  /** `copy` is called by the button on each code block. */
  constructor(root: HTMLElement, copy: (text: string, from: HTMLButtonElement) => void) {
    this.#root = root;
    this.#copy = copy;
  }

  /** Shows `source`, building again only the blocks that differ from what is shown. */
  update(source: string): void {
    const blocks = parseMarkdown(source).map((block) => ({ key: JSON.stringify(block), block }));
    let same = 0;
    while (same < blocks.length && this.#shown[same]?.key === blocks[same]?.key) same += 1;
    for (const { node } of this.#shown.splice(same)) node.remove();
    for (const { key, block } of blocks.slice(same)) {
      const node = this.#build(block);
      this.#root.append(node);
      this.#shown.push({ key, node });
    }
  }

  #build(block: Block): HTMLElement {
    switch (block.kind) {
      case "paragraph":
        return inlineInto(h("p"), block.text);
      case "heading":
        // Headings of an answer stand below those of the page, whatever level the model chose.
        return inlineInto(
          h("p", { class: "answer-heading", attributes: { role: "heading", "aria-level": 4 } }),
          block.text,
        );
      case "code":
        return this.#code(block.language, block.text);
      case "list":
        return buildList(block);
    }
  }

  #code(language: string, text: string): HTMLElement {
    const copy = button("Copy code", {
      look: "icon",
      icon: "copy",
      onClick: (event) => this.#copy(text, event.currentTarget as HTMLButtonElement),
    });
    const label = language === "" ? "code" : language;
    return h(
      "div",
      { class: "code" },
      h("div", { class: "code-head" }, h("span", {}, label), copy),
      // Focusable, so that a long line can be scrolled to with the keyboard.
      h("pre", { attributes: { tabindex: 0, role: "region", "aria-label": `${label} block` } }, h("code", {}, text)),
    );
  }
}

function buildList(block: Extract<Block, { kind: "list" }>): HTMLElement {
  const root = openList(block.ordered, block.start);
  const open: HTMLElement[] = [root];
  for (const item of block.items) {
    while (open.length > item.depth + 1) open.pop();
    while (open.length < item.depth + 1) {
      const inner = openList(item.ordered, 1);
      const parent = open.at(-1) ?? root;
      (parent.lastElementChild ?? parent).append(inner);
      open.push(inner);
    }
    (open.at(-1) ?? root).append(inlineInto(h("li"), item.text));
  }
  return root;
}

function openList(ordered: boolean, start: number): HTMLElement {
  return ordered ? h("ol", { attributes: { start: start === 1 ? undefined : start } }) : h("ul");
}

const INLINE = /(`+)(.+?)\1|\*\*(\S(?:.*?\S)?)\*\*|(?<![*\w])\*(\S(?:[^*]*?\S)?)\*(?![*\w])/s;

/** Appends `text` with inline code, bold and italics as elements, everything else as text nodes. */
function inlineInto<E extends HTMLElement>(parent: E, text: string): E {
  let rest = text;
  for (let match = INLINE.exec(rest); match !== null; match = INLINE.exec(rest)) {
    parent.append(rest.slice(0, match.index));
    if (match[2] !== undefined) parent.append(h("code", {}, match[2].trim() === "" ? match[2] : match[2].trim()));
    else if (match[3] !== undefined) parent.append(inlineInto(h("strong"), match[3]));
    else parent.append(inlineInto(h("em"), match[4] ?? ""));
    rest = rest.slice(match.index + match[0].length);
  }
  parent.append(rest);
  return parent;
}
