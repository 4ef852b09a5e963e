// The whole of this project's "framework": build an element, build an icon, replace children. Text goes in as text
// nodes only, so that nothing a model or a server says is ever parsed as markup.

/** What may stand as a child of an element; `false` and `undefined` are left out. */
export type Child = Node | string | false | undefined;

/** Attributes, properties and listeners of a new element. */
export interface Props {
  /** Class names, separated by spaces. */
  class?: string;
  /** `::part` names for styling from outside. */
  part?: string;
  /** Attributes; `true` writes an empty one, `false` and `undefined` none. */
  attributes?: Record<string, string | number | boolean | undefined>;
  /** Listeners by event name. */
  on?: Record<string, (event: Event) => void>;
}

/** Creates an HTML element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (props.class !== undefined) element.className = props.class;
  if (props.part !== undefined) element.setAttribute("part", props.part);
  for (const [name, value] of Object.entries(props.attributes ?? {})) setAttribute(element, name, value);
  for (const [name, listener] of Object.entries(props.on ?? {})) element.addEventListener(name, listener);
  append(element, children);
  return element;
}

/** Sets, or for `false` and `undefined` removes, an attribute; does nothing where it already holds. */
export function setAttribute(element: Element, name: string, value: string | number | boolean | undefined): void {
  if (value === false || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value === true ? "" : value)) {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Sets the text of an element, leaving it alone where it already reads so (live regions would speak again). */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Replaces all children of an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  append(element, children);
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child !== false && child !== undefined) element.append(child);
  }
}

const ICONS = {
  send: "M12 19V5m0 0-6 6m6-6 6 6",
  stop: "M7 7h10v10H7z",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "m5 12.5 4.5 4.5L19 7.5",
  redo: "M19 12a7 7 0 1 1-2.2-5.1M19 4v4h-4",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  sliders: "M4 8h8m4 0h4M4 16h4m4 0h8M14 6v4M10 14v4",
  layers: "m12 4 8 4.5-8 4.5-8-4.5zM4 13l8 4.5 8-4.5",
  file: "M7 3.5h7l4 4v13H7zM14 3.5v4h4",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l1 13h8l1-13",
  down: "M12 5v14m0 0-6-6m6 6 6-6",
  warning: "M12 4.5 21 20H3zM12 10.5v4m0 2.6v.1",
  lock: "M6.5 11h11v9h-11zM9 11V8a3 3 0 0 1 6 0v3",
} as const;

/** The names of the drawn icons. */
export type IconName = keyof typeof ICONS;

const SVG = "http://www.w3.org/2000/svg";

function svg(viewBox: string, className: string): SVGSVGElement {
  const root = document.createElementNS(SVG, "svg");
  root.setAttribute("viewBox", viewBox);
  root.setAttribute("class", className);
  root.setAttribute("aria-hidden", "true");
  root.setAttribute("focusable", "false");
  return root;
}

/** A line icon, hidden from screen readers: the control it stands in carries the name. */
export function icon(name: IconName): SVGSVGElement {
  const root = svg("0 0 24 24", `glyph ${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  root.append(path);
  return root;
}

/** The project's mark: the sun, its 22 degree halo, and the two images of it that give parhelia their name. */
export function mark(className: string): SVGSVGElement {
  const root = svg("0 0 48 48", className);
  const circle = (cx: number, cy: number, r: number, name: string): void => {
    const shape = document.createElementNS(SVG, "circle");
    for (const [key, value] of Object.entries({ cx, cy, r, class: name })) shape.setAttribute(key, String(value));
    root.append(shape);
  };
  circle(24, 24, 18, "halo");
  circle(24, 24, 7, "sun");
  circle(6, 24, 3.5, "dog");
  circle(42, 24, 3.5, "dog");
  return root;
}

/** How a button looks; the text of a `"bar"` button is left to screen readers where the element is narrow. */
export type ButtonLook = "primary" | "quiet" | "icon" | "bar" | "danger";

/** A button with text, an icon, or both; with an icon alone `label` is its accessible name and tooltip. */
export function button(
  label: string,
  options: { look?: ButtonLook; icon?: IconName; part?: string; class?: string; onClick: (event: Event) => void },
): HTMLButtonElement {
  const look = options.look ?? "quiet";
  const bare = look === "icon";
  return h(
    "button",
    {
      class: `button ${look} ${options.class ?? ""}`.trim(),
      part: options.part ?? "button",
      attributes: { type: "button", ...(bare ? { "aria-label": label, title: label } : {}) },
      on: { click: options.onClick },
    },
    options.icon !== undefined && icon(options.icon),
    !bare && h("span", { class: "button-text" }, label),
  );
}
