// What a user may set: how answers are sampled, and how a model is loaded. One table describes every field; the form,
// the checks and what is kept between visits all come from it.

import type { DeviceChoice, GenerateOptions, LoadOptions } from "../types.js";

/** The value of every setting; `null` leaves the choice to the engine or the model. */
export interface Settings {
  /** Instructions put before the conversation; empty for none. */
  system: string;
  /** Randomness of sampling; 0 always takes the likeliest token. */
  temperature: number;
  /** Samples from the likeliest tokens that together have this probability. */
  topP: number;
  /** Samples from this many likeliest tokens; 0 for all. */
  topK: number;
  /** Longest answer in tokens. */
  maxTokens: number;
  /** The same seed with the same settings gives the same answer; `null` draws a new one each time. */
  seed: number | null;
  /** Tokens of context to hold; `null` for what the model and the device allow. */
  context: number | null;
  /** Where the model runs. */
  device: DeviceChoice;
  /** Whether kernels may use subgroups. */
  subgroups: boolean;
  /** Whether kernels may use 16-bit floats. */
  f16: boolean;
  /** All-f32 arithmetic with pinned kernels. */
  reproducible: boolean;
}

/** The settings a new visitor gets. */
export const DEFAULT_SETTINGS: Readonly<Settings> = {
  system: "",
  temperature: 0.7,
  topP: 0.95,
  topK: 40,
  maxTokens: 1024,
  seed: null,
  context: null,
  device: "auto",
  subgroups: true,
  f16: true,
  reproducible: false,
};

interface Common {
  key: keyof Settings;
  label: string;
  hint: string;
  /** `"loading"` settings act when a model is loaded the next time. */
  group: "answers" | "loading";
}

/** How one setting is shown and checked. */
export type Field = Common &
  (
    | { kind: "text" }
    | { kind: "number"; min: number; max: number; step: number; empty?: string }
    | { kind: "choice"; choices: readonly (readonly [value: string, label: string])[] }
    | { kind: "switch" }
  );

/** Every setting, in the order of the form. */
export const FIELDS: readonly Field[] = [
  {
    key: "system",
    kind: "text",
    group: "answers",
    label: "System prompt",
    hint: "Instructions the model reads before the conversation. Takes effect with the next answer.",
  },
  {
    key: "temperature",
    kind: "number",
    group: "answers",
    label: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    hint: "0 always takes the likeliest token; higher is more varied.",
  },
  {
    key: "topP",
    kind: "number",
    group: "answers",
    label: "Top-p",
    min: 0.01,
    max: 1,
    step: 0.01,
    hint: "Only the likeliest tokens that together have this probability.",
  },
  {
    key: "topK",
    kind: "number",
    group: "answers",
    label: "Top-k",
    min: 0,
    max: 1000,
    step: 1,
    hint: "Only this many likeliest tokens; 0 for all.",
  },
  {
    key: "maxTokens",
    kind: "number",
    group: "answers",
    label: "Longest answer",
    min: 1,
    max: 131072,
    step: 1,
    hint: "In tokens; a token is about three quarters of a word.",
  },
  {
    key: "seed",
    kind: "number",
    group: "answers",
    label: "Seed",
    min: 0,
    max: 4294967295,
    step: 1,
    empty: "random",
    hint: "The same seed and settings give the same answer.",
  },
  {
    key: "context",
    kind: "number",
    group: "loading",
    label: "Context",
    min: 16,
    max: 1048576,
    step: 1,
    empty: "automatic",
    hint: "Tokens of conversation the model can see. Longer needs more memory.",
  },
  {
    key: "device",
    kind: "choice",
    group: "loading",
    label: "Runs on",
    choices: [
      ["auto", "Best available"],
      ["webgpu", "GPU (WebGPU)"],
      ["cpu", "CPU"],
    ],
    hint: "The CPU works everywhere and suits small models.",
  },
  {
    key: "subgroups",
    kind: "switch",
    group: "loading",
    label: "Use subgroups",
    hint: "Faster where the device has them. Off for finding faults.",
  },
  {
    key: "f16",
    kind: "switch",
    group: "loading",
    label: "Use 16-bit floats",
    hint: "Halves some memory traffic where the device has them.",
  },
  {
    key: "reproducible",
    kind: "switch",
    group: "loading",
    label: "Reproducible",
    hint: "32-bit arithmetic in a fixed order, so that devices differ in the last bits only. Slower.",
  },
];

/** Settings from untrusted parts (a store, an attribute): every field that is missing or out of range is the default. */
export function cleanSettings(parts: Partial<Record<keyof Settings, unknown>>): Settings {
  const clean: Record<string, unknown> = { ...DEFAULT_SETTINGS };
  for (const field of FIELDS) {
    const value = parts[field.key];
    if (value !== undefined && acceptable(field, value)) clean[field.key] = value;
  }
  return clean as unknown as Settings;
}

function acceptable(field: Field, value: unknown): boolean {
  switch (field.kind) {
    case "text":
      return typeof value === "string";
    case "switch":
      return typeof value === "boolean";
    case "choice":
      return field.choices.some(([choice]) => choice === value);
    case "number":
      if (value === null) return field.empty !== undefined;
      if (typeof value !== "number" || !(value >= field.min && value <= field.max)) return false;
      return field.step < 1 || Number.isInteger(value);
  }
}

/** What an answer takes from the settings; a seed is drawn where none is set, so that asking again gives another answer. */
export function generateOptions(settings: Settings): GenerateOptions {
  const { temperature, topP, topK, maxTokens } = settings;
  return { temperature, topP, topK, maxTokens, seed: settings.seed ?? randomSeed() };
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** What loading a model takes from the settings. */
export function loadOptions(settings: Settings): LoadOptions {
  return {
    device: settings.device,
    ...(settings.subgroups ? {} : { subgroups: false }),
    ...(settings.f16 ? {} : { f16: false }),
    reproducible: settings.reproducible,
    ...(settings.context === null ? {} : { context: settings.context }),
  };
}

/** Whether going from one to the other needs the model to be loaded again. */
export function needsReload(before: Settings, after: Settings): boolean {
  return FIELDS.some((field) => field.group === "loading" && before[field.key] !== after[field.key]);
}
