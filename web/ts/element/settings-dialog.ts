// The settings, as a form made from their table. A change counts at once; what acts only on loading offers to load again.

import { buildDialog } from "./dialog.js";
import { button, h, setText } from "./dom.js";
import { cleanSettings, DEFAULT_SETTINGS, FIELDS } from "./settings.js";
import type { Field, Settings } from "./settings.js";
import type { Chat } from "./state.js";

/** What the dialog asks of the element it stands in. */
export interface SettingsActions {
  change(settings: Settings): void;
  reload(): void;
}

interface Control {
  readonly field: Field;
  readonly input: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
  readonly problem: HTMLElement;
}

/** Draws the settings. */
export class SettingsView {
  readonly #dialog = buildDialog("Settings");
  readonly #controls: Control[] = [];
  readonly #reload: HTMLElement;
  readonly #actions: SettingsActions;
  #settings: Settings = { ...DEFAULT_SETTINGS };

  constructor(actions: SettingsActions) {
    this.#actions = actions;
    const reload = button("Load the model again", {
      look: "primary",
      onClick: () => {
        this.#dialog.close();
        actions.reload();
      },
    });
    this.#reload = h(
      "div",
      { class: "notice", attributes: { role: "status" } },
      h("p", {}, "These take effect when the model is loaded again."),
      reload,
    );
    this.#dialog.body.append(
      this.#group("answers", "Answers"),
      this.#group("loading", "Loading"),
      this.#reload,
      h(
        "div",
        { class: "row" },
        button("Reset to defaults", { onClick: () => actions.change({ ...DEFAULT_SETTINGS }) }),
      ),
    );
  }

  get element(): HTMLElement {
    return this.#dialog.element;
  }

  /** Shows the dialog. */
  open(): void {
    this.#dialog.open();
  }

  /** Brings everything up to date with the chat. */
  update(chat: Chat): void {
    this.#reload.hidden = !chat.reloadNeeded;
    if (chat.settings === this.#settings) return;
    this.#settings = chat.settings;
    for (const control of this.#controls) show(control, chat.settings);
  }

  #group(group: Field["group"], title: string): HTMLElement {
    const fields = FIELDS.filter((field) => field.group === group);
    return h("fieldset", { class: "group" }, h("legend", {}, title), ...fields.map((field) => this.#row(field)));
  }

  #row(field: Field): HTMLElement {
    const id = `setting-${field.key}`;
    const input = buildInput(field, id);
    const problem = h("p", { class: "field-problem", attributes: { id: `${id}-problem`, role: "alert" } });
    const control: Control = { field, input, problem };
    input.addEventListener("change", () => this.#changed(control));
    this.#controls.push(control);
    show(control, this.#settings);
    return h(
      "div",
      { class: `field ${field.kind}` },
      h("label", { attributes: { for: id } }, field.label),
      input,
      h("p", { class: "hint", attributes: { id: `${id}-hint` } }, field.hint),
      problem,
    );
  }

  #changed(control: Control): void {
    const { field, input, problem } = control;
    const value = read(field, input);
    const next = cleanSettings({ ...this.#settings, [field.key]: value });
    const refused = next[field.key] !== value;
    input.setAttribute("aria-invalid", String(refused));
    setText(problem, refused && field.kind === "number" ? `Enter a number from ${field.min} to ${field.max}.` : "");
    if (refused) return;
    this.#settings = next;
    this.#actions.change(next);
  }
}

function buildInput(field: Field, id: string): Control["input"] {
  const shared = { id, "aria-describedby": `${id}-hint ${id}-problem` };
  switch (field.kind) {
    case "text":
      return h("textarea", { class: "input", attributes: { ...shared, rows: 3 } });
    case "choice":
      return h(
        "select",
        { class: "input", attributes: shared },
        ...field.choices.map(([value, label]) => h("option", { attributes: { value } }, label)),
      );
    case "switch":
      return h("input", { class: "toggle", attributes: { ...shared, type: "checkbox", role: "switch" } });
    case "number": {
      const { min, max, step, empty } = field;
      return h("input", {
        class: "input",
        attributes: { ...shared, type: "number", min, max, step, placeholder: empty },
      });
    }
  }
}

function read(field: Field, input: Control["input"]): unknown {
  if (field.kind === "switch") return (input as HTMLInputElement).checked;
  if (field.kind !== "number") return input.value;
  if (input.value === "" && input.validity.valid) return null;
  return (input as HTMLInputElement).valueAsNumber;
}

function show({ field, input, problem }: Control, settings: Settings): void {
  const value = settings[field.key];
  if (field.kind === "switch") (input as HTMLInputElement).checked = value === true;
  else input.value = value === null ? "" : String(value);
  input.removeAttribute("aria-invalid");
  setText(problem, "");
}
