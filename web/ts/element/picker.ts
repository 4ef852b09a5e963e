// Choosing a model: what this is, the models at hand with size, time and licence, an address, or a file.

import { CPU_BYTES } from "../limits.js";
import { isHubId, isLocal } from "../source.js";
import type { StoredEntry, Support } from "../types.js";
import { choiceFor, choiceFromFiles } from "./choices.js";
import type { ModelChoice } from "./choices.js";
import { button, fill, h, icon, mark, setText } from "./dom.js";
import { formatBytes, formatDuration } from "./format.js";
import { storedChoices, storedOf } from "./stored.js";
import type { Stored } from "./stored.js";

/** What the picker asks of the element it stands in. */
export interface PickerActions {
  load(choice: ModelChoice): void;
  /** Loads it on the CPU, whatever the settings say. */
  loadOnCpu(choice: ModelChoice): void;
}

/** What the picker shows. */
export interface PickerContent {
  choices: readonly ModelChoice[];
  stored: readonly StoredEntry[];
  support: Support | undefined;
  /** The settings name the CPU. */
  cpuChosen: boolean;
  /** The page that embeds the element named the model: there is no other choice. */
  fixed: boolean;
}

/** What a download time is estimated with, in megabits per second: usual for a home connection, and named beside it. */
const USUAL_MEGABITS = 25;

/** Draws the choice of a model. */
export class PickerView {
  readonly element: HTMLElement;
  readonly #notice = h("div", { class: "notice", part: "notice", attributes: { hidden: true } });
  readonly #list = h("ul", { class: "choices", attributes: { "aria-label": "Models" } });
  readonly #other: HTMLElement;
  readonly #device = h("p", { class: "muted device-line" });
  readonly #problem = h("p", { class: "field-problem", attributes: { id: "address-problem", role: "alert" } });
  readonly #address: HTMLInputElement;
  readonly #actions: PickerActions;

  constructor(actions: PickerActions) {
    this.#actions = actions;
    this.#address = h("input", {
      class: "input",
      attributes: {
        type: "text",
        inputmode: "url",
        id: "address",
        placeholder: "https://…/model.gguf or owner/name",
        autocomplete: "off",
        spellcheck: "false",
        "aria-describedby": "address-problem",
      },
    });
    this.#other = this.#buildOther();
    this.element = h(
      "div",
      { class: "scroll" },
      h(
        "div",
        { class: "column welcome" },
        mark("mark large"),
        h("h2", { class: "display" }, "A language model that runs right here"),
        h(
          "p",
          { class: "lead" },
          "Pick a model. It is downloaded once, kept in this browser, and runs on your own device: ",
          "no account, no server, and nothing you write leaves this page.",
        ),
        this.#notice,
        this.#list,
        this.#other,
        this.#device,
      ),
    );
  }

  /** Brings everything up to date. */
  update(content: PickerContent): void {
    this.#updateNotice(content.support);
    const { choices, stored } = content;
    const listed = content.fixed ? choices : [...choices, ...storedChoices(stored, choices)];
    const noGpu = content.support?.webgpu === false;
    fill(
      this.#list,
      ...listed.map((choice) =>
        this.#buildChoice(choice, storedOf(choice, content.stored), noGpu || content.cpuChosen),
      ),
    );
    this.#other.hidden = content.fixed;
    setText(this.#device, deviceLine(content));
  }

  /** Puts the keyboard on the first model. */
  focus(): void {
    (this.#list.querySelector("button") ?? this.#address).focus();
  }

  #buildChoice(choice: ModelChoice, stored: Stored | undefined, onCpu: boolean): HTMLElement {
    const tooLarge = onCpu && (choice.bytes ?? 0) > CPU_BYTES;
    const ready = stored?.complete === true;
    const verb = ready ? "Load" : stored === undefined ? "Download" : "Resume";
    const load = button(onCpu ? `${verb} for the CPU` : verb, {
      look: "primary",
      part: "load-button",
      onClick: () => (onCpu ? this.#actions.loadOnCpu(choice) : this.#actions.load(choice)),
    });
    load.setAttribute("aria-label", `${load.textContent ?? verb}: ${choice.title}`);
    load.disabled = tooLarge;
    const facts = [
      choice.bytes === undefined ? undefined : formatBytes(choice.bytes),
      choice.license,
      timeText(choice, stored),
    ];
    return h(
      "li",
      { class: "choice", part: "model" },
      h(
        "div",
        { class: "choice-text" },
        h("h3", {}, choice.title),
        choice.note !== "" && h("p", { class: "muted" }, choice.note),
        h(
          "p",
          { class: "facts" },
          ready && h("span", { class: "badge" }, "On this device"),
          facts.filter(Boolean).join(" · "),
        ),
        tooLarge && h("p", { class: "muted" }, "Too large for the CPU to answer at a useful speed."),
      ),
      load,
    );
  }

  #buildOther(): HTMLElement {
    const files = this.#fileInput({ accept: ".gguf,.safetensors,.json,.jinja", multiple: true, "aria-label": "Model files" });
    const folder = this.#fileInput({ webkitdirectory: true, "aria-label": "Model folder" });
    const form = h(
      "form",
      {
        class: "address-form",
        attributes: { novalidate: true },
        on: { submit: (event) => this.#submitAddress(event) },
      },
      h("label", { attributes: { for: "address" } }, "Address of a GGUF file or a repository, or its name on Hugging Face"),
      h(
        "div",
        { class: "row grow" },
        this.#address,
        h("button", { class: "button quiet", attributes: { type: "submit" } }, "Load"),
      ),
      this.#problem,
    );
    return h(
      "section",
      { class: "other", attributes: { "aria-label": "Another model" } },
      h("h3", {}, "Another model"),
      form,
      h(
        "div",
        { class: "row" },
        button("Open files from this device", { icon: "file", onClick: () => files.click() }),
        button("Open a folder", { icon: "file", onClick: () => folder.click() }),
        h("span", { class: "muted drop-hint" }, "or drop files anywhere here"),
        files,
        folder,
      ),
    );
  }

  /** Has the user pick the files of one model. */
  #fileInput(attributes: Record<string, string | boolean>): HTMLInputElement {
    const input = h("input", {
      class: "visually-hidden",
      attributes: { type: "file", tabindex: -1, ...attributes },
      on: {
        change: () => {
          const files = [...(input.files ?? [])];
          input.value = "";
          if (files.length > 0) this.#actions.load(choiceFromFiles(files));
        },
      },
    });
    return input;
  }

  #submitAddress(event: Event): void {
    event.preventDefault();
    const text = this.#address.value.trim();
    const url = parseUrl(text);
    const usable = text !== "" && url !== null && /^https?:$/.test(url.protocol);
    setText(
      this.#problem,
      usable ? "" : "Enter an address that begins with https:// and leads to a .gguf file or, with / at its end, a repository; or owner/name.",
    );
    this.#address.setAttribute("aria-invalid", String(!usable));
    if (usable) this.#actions.load(choiceFor(isHubId(text) ? text : url.href, []));
    else this.#address.focus();
  }

  #updateNotice(support: Support | undefined): void {
    const missing = support?.webgpu === false;
    if (missing === !this.#notice.hidden) return;
    this.#notice.hidden = !missing;
    if (support === undefined || !missing) return;
    fill(
      this.#notice,
      h(
        "div",
        { class: "failure-title" },
        icon("warning"),
        h("strong", {}, "No WebGPU here, so models run on the CPU"),
      ),
      h("p", {}, `${support.reason ?? ""} ${support.advice ?? ""}`.trim()),
      h("p", {}, "Small models work now without it, only slower: choose one below."),
      browserHelp(),
    );
  }
}

function parseUrl(text: string): URL | null {
  try {
    return new URL(text, document.baseURI);
  } catch {
    return null;
  }
}

function timeText(choice: ModelChoice, stored: Stored | undefined): string | undefined {
  if (isLocal(choice.source) || choice.bytes === undefined || stored?.complete === true) return undefined;
  const missing = choice.bytes - (stored?.bytes ?? 0);
  const time = formatDuration(missing / ((USUAL_MEGABITS * 1e6) / 8));
  return `about ${time}${stored === undefined ? "" : " left"} at ${USUAL_MEGABITS} Mbit/s`;
}

function deviceLine({ support, cpuChosen }: PickerContent): string {
  if (support === undefined) return "";
  if (cpuChosen) return "Models run on the CPU, as set in the settings.";
  const { device } = support;
  if (!support.webgpu || device === undefined) return "";
  const name = device.name || device.vendor || "graphics device";
  return device.fallback ? `Runs on WebGPU in software (${name}): slow, but it works.` : `Runs on WebGPU: ${name}.`;
}

function browserHelp(): HTMLElement {
  const rows = [
    "Chrome and Edge: version 113 or newer on Windows, macOS and ChromeOS; 121 or newer on Android.",
    "Chrome on Linux: if it is off, open chrome://flags, switch on “Unsafe WebGPU Support” and “Vulkan”, and restart.",
    "Safari: version 26 or newer.",
    "Firefox: version 141 or newer on Windows, 145 or newer on Macs with Apple silicon.",
    "Everywhere: hardware acceleration switched on, and a page opened over https or from localhost.",
  ];
  return h("details", {}, h("summary", {}, "How to get WebGPU"), h("ul", {}, ...rows.map((row) => h("li", {}, row))));
}
