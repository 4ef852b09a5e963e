// What is stored, how large it is and how to delete it; the loaded model; the device.

import type { SessionInfo, StorageUsage, StoredEntry, Support } from "../types.js";
import { buildDialog } from "./dialog.js";
import { button, fill, h } from "./dom.js";
import { formatBytes, formatCount, formatParameters } from "./format.js";

/** What the dialog asks of the element it stands in. */
export interface StorageActions {
  remove(entry: StoredEntry): void;
  clear(): void;
  persist(): void;
  change(): void;
}

/** What the dialog shows. */
export interface StorageContent {
  info: SessionInfo | undefined;
  stored: readonly StoredEntry[];
  usage: StorageUsage | undefined;
  support: Support | undefined;
  /** Whether another model may be chosen. */
  choosable: boolean;
}

/** Draws the dialog. */
export class StorageView {
  readonly #dialog = buildDialog("Model and storage");
  readonly #actions: StorageActions;

  constructor(actions: StorageActions) {
    this.#actions = actions;
  }

  get element(): HTMLElement {
    return this.#dialog.element;
  }

  /** Shows the dialog. */
  open(): void {
    this.#dialog.open();
  }

  /** Brings everything up to date; keeps the keyboard inside when the control it was on is gone. */
  update(content: StorageContent): void {
    const { body, element } = this.#dialog;
    const held = element.open && body.matches(":focus-within");
    fill(body, this.#modelSection(content), this.#storedSection(content), deviceSection(content));
    if (held) element.querySelector<HTMLElement>("button")?.focus();
  }

  #modelSection({ info, choosable }: StorageContent): HTMLElement | false {
    const change = button("Choose another model", {
      onClick: () => {
        this.#dialog.close();
        this.#actions.change();
      },
    });
    return (
      info !== undefined &&
      section("Loaded model", facts(modelFacts(info)), choosable && h("div", { class: "row" }, change))
    );
  }

  #storedSection({ stored, usage }: StorageContent): HTMLElement {
    const items = stored.map((entry) => this.#storedItem(entry));
    const used = usage && `${formatBytes(usage.usage)} of about ${formatBytes(usage.quota)} used on this device.`;
    const kept = usage?.persisted === true;
    return section(
      "Stored models",
      items.length === 0
        ? h("p", { class: "muted" }, "No model is stored yet.")
        : h("ul", { class: "stored" }, ...items),
      used !== undefined && h("p", { class: "muted" }, used, kept ? " The browser keeps it until you delete it." : ""),
      h(
        "div",
        { class: "row" },
        !kept && items.length > 0 && button("Ask the browser to keep them", { onClick: () => this.#actions.persist() }),
        items.length > 1 &&
          button("Delete all", { look: "danger", icon: "trash", onClick: () => this.#actions.clear() }),
      ),
    );
  }

  #storedItem(entry: StoredEntry): HTMLElement {
    const state = entry.complete
      ? formatBytes(entry.size)
      : `${formatBytes(entry.bytes)} of ${formatBytes(entry.size)} downloaded`;
    const used = new Date(entry.lastUsed).toLocaleDateString("en-GB", {
      day: "numeric",
      month: "short",
      year: "numeric",
    });
    const remove = button(`Delete ${entry.name}`, {
      look: "icon",
      icon: "trash",
      onClick: () => this.#actions.remove(entry),
    });
    return h(
      "li",
      {},
      h(
        "div",
        { class: "choice-text" },
        h("strong", { class: "file-name" }, entry.name),
        h("span", { class: "muted" }, `${state} · last used ${used}`),
      ),
      remove,
    );
  }
}

function section(title: string, ...children: (Node | string | false)[]): HTMLElement {
  return h("section", { class: "group" }, h("h3", {}, title), ...children);
}

function facts(rows: readonly (readonly [name: string, value: string])[]): HTMLElement {
  return h(
    "dl",
    { class: "fact-list" },
    ...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

function modelFacts(info: SessionInfo): [string, string][] {
  const { memory, timings } = info;
  return [
    ["File", info.name],
    ["Architecture", `${info.architecture}, ${formatParameters(info.parameters)} parameters, ${info.layers} layers`],
    ["Context", `${formatCount(info.context)} tokens`],
    [
      "Memory",
      `${formatBytes(memory.now)} (weights ${formatBytes(memory.weights)}, conversation ${formatBytes(memory.kv)})`,
    ],
    ["Loaded in", `${(timings.total / 1000).toFixed(1)} s`],
    ["Engine", info.version],
  ];
}

function deviceSection({ info, support }: StorageContent): HTMLElement | false {
  const device = info?.device;
  if (device !== undefined) {
    const rows: [string, string][] = [
      ["Runs on", device.backend === "scalar" ? "the CPU" : device.name],
      [
        "Through",
        device.backend === "scalar" ? "WebAssembly" : `WebGPU${device.driver === "" ? "" : ` (${device.driver})`}`,
      ],
    ];
    if (device.backend !== "scalar") {
      const width =
        device.subgroupMin === device.subgroupMax
          ? `${device.subgroupMin}`
          : `${device.subgroupMin}–${device.subgroupMax}`;
      rows.push(
        ["Subgroups", device.subgroups ? `yes, ${width} wide` : "no"],
        ["16-bit floats", device.f16 ? "yes" : "no"],
      );
      rows.push(["Largest buffer", formatBytes(device.maxBuffer)]);
    }
    if (info !== undefined && info.check.dropped.length > 0)
      rows.push(["Not used, as it computes wrongly", info.check.dropped.join(", ")]);
    if (info !== undefined && info.recoveries > 0)
      rows.push(["Recovered from a lost device", `${info.recoveries} time${info.recoveries === 1 ? "" : "s"}`]);
    return section("Device", facts(rows));
  }
  const offered = support?.device;
  if (offered === undefined) return false;
  return section(
    "Device",
    facts([
      ["WebGPU offers", offered.name || offered.vendor],
      ["Subgroups", offered.subgroups ? "yes" : "no"],
      ["16-bit floats", offered.f16 ? "yes" : "no"],
    ]),
  );
}
