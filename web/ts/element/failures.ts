// One line for each way things go wrong: what happened, what to do, and the buttons that do it. The table is complete
// by its type: a new error code does not compile until it has a line here.

import type { ErrorCode, ParhelionError } from "../errors.js";

/** Something a button next to an error does. */
export type Remedy =
  | "retry"
  | "resume"
  | "start-over"
  | "reload-model"
  | "use-cpu"
  | "smaller-context"
  | "delete-models"
  | "choose"
  | "new-chat"
  | "settings";

/** What the button of each remedy says. */
export const REMEDY_LABELS: Record<Remedy, string> = {
  retry: "Try again",
  resume: "Resume the download",
  "start-over": "Start the download over",
  "reload-model": "Load the model again",
  "use-cpu": "Use the CPU",
  "smaller-context": "Load with a shorter context",
  "delete-models": "Delete stored models",
  choose: "Choose another model",
  "new-chat": "New chat",
  settings: "Open settings",
};

/** How one error code is shown. */
export interface Explanation {
  /** What happened, as a sentence. */
  title: string;
  /** What to do next, as a sentence or two. */
  advice: string;
  /** The buttons, the one that most likely helps first. */
  remedies: readonly Remedy[];
}

const EXPLANATIONS: Record<ErrorCode, Explanation> = {
  "no-webgpu": {
    title: "This browser has no WebGPU.",
    advice: "Small models also run on the CPU, slower. For the GPU use a current Chrome, Edge, Safari or Firefox.",
    remedies: ["use-cpu", "choose"],
  },
  "no-device": {
    title: "WebGPU is there, but offers no graphics device.",
    advice: "Switch hardware acceleration on in the browser's settings and update the graphics driver, or use the CPU.",
    remedies: ["use-cpu", "retry"],
  },
  "missing-feature": {
    title: "This graphics device lacks something the model needs.",
    advice: "Update the browser and the graphics driver, or use the CPU.",
    remedies: ["use-cpu", "choose"],
  },
  "device-lost": {
    title: "The graphics device was lost again.",
    advice:
      "It was rebuilt once already. Close other programs that use the GPU, then load the model again; your chat is kept.",
    remedies: ["reload-model", "use-cpu", "choose"],
  },
  "out-of-memory": {
    title: "The graphics device ran out of memory.",
    advice: "Close other tabs that use the GPU, or load the model with a shorter context.",
    remedies: ["smaller-context", "retry", "use-cpu", "choose"],
  },
  "over-limit": {
    title: "The model is larger than this graphics device allows.",
    advice: "A shorter context needs less memory; a smaller model needs much less.",
    remedies: ["smaller-context", "choose", "use-cpu"],
  },
  "wrong-results": {
    title: "This graphics device computes wrongly, so it is not used.",
    advice:
      "The check before loading gave wrong answers. Update the graphics driver, or use the CPU, which passed the same check.",
    remedies: ["use-cpu", "retry"],
  },
  "unsupported-model": {
    title: "This kind of model is not supported.",
    advice: "The details say which part. Choose a model of a supported family and weight format.",
    remedies: ["choose"],
  },
  "bad-file": {
    title: "This file is damaged, or no model file.",
    advice: "It should be a GGUF file, or a repository of safetensors. If it was downloaded, fetch it again.",
    remedies: ["start-over", "choose"],
  },
  "no-chat-template": {
    title: "This model has no chat template.",
    advice: "It completes text but was not made to chat. An instruct or chat variant of it will.",
    remedies: ["choose"],
  },
  template: {
    title: "The model's chat template refuses this conversation.",
    advice: "Some models take no system prompt. Clear it in the settings, or start a new chat.",
    remedies: ["settings", "new-chat"],
  },
  "prompt-too-long": {
    title: "This conversation no longer fits the model's context.",
    advice: "Start a new chat, or load the model with a longer context in the settings.",
    remedies: ["new-chat", "settings"],
  },
  option: {
    title: "A setting has a value the engine does not take.",
    advice: "The details name it.",
    remedies: ["settings"],
  },
  network: {
    title: "The connection broke off.",
    advice: "What has arrived is kept: the download goes on at the byte where it stopped.",
    remedies: ["resume", "choose"],
  },
  "not-found": {
    title: "A file of the model is not there.",
    advice: "The details name it. Check the address and that the file is public, or pick that file too.",
    remedies: ["choose", "retry"],
  },
  "not-a-model": {
    title: "The address leads to a web page, not to a model file.",
    advice:
      "Use the direct download link of the .gguf file; on model hubs it often contains “resolve” instead of “blob”.",
    remedies: ["choose", "retry"],
  },
  "no-ranges": {
    title: "This server cannot send a file in parts.",
    advice:
      "The model needs a server that answers range requests. Download the file yourself and open it from this device.",
    remedies: ["choose", "retry"],
  },
  changed: {
    title: "The file changed on the server during the download.",
    advice: "The parts no longer fit together. Start over to fetch the new version.",
    remedies: ["start-over", "choose"],
  },
  integrity: {
    title: "The stored model does not match its checksum.",
    advice: "It was damaged on the way or on this device, and is not used. Download it again.",
    remedies: ["start-over", "choose"],
  },
  quota: {
    title: "There is not enough storage for this model.",
    advice: "Delete stored models that you no longer use, free disk space, or choose a smaller model.",
    remedies: ["delete-models", "retry", "choose"],
  },
  evicted: {
    title: "The browser removed the stored model to free space.",
    advice: "Download it again. Browsers do this when the disk is nearly full.",
    remedies: ["start-over", "delete-models", "choose"],
  },
  storage: {
    title: "The browser's storage cannot be used.",
    advice:
      "Private windows and blocked site data prevent it. Use a normal window, or open a model file from this device.",
    remedies: ["retry", "choose"],
  },
  aborted: {
    title: "Stopped.",
    advice: "Nothing is lost: what was downloaded is kept.",
    remedies: ["resume", "choose"],
  },
  busy: {
    title: "The model is still busy with something else.",
    advice: "Stop the answer that is being written, or wait for it, then try again.",
    remedies: ["retry"],
  },
  disposed: {
    title: "The model is no longer loaded.",
    advice: "Load it again; your chat is kept.",
    remedies: ["reload-model", "choose"],
  },
  internal: {
    title: "Something failed that should not have.",
    advice: "Loading the model again usually helps. The details are worth a bug report.",
    remedies: ["reload-model", "choose"],
  },
};

/** The readable line, the advice and the buttons for an error. */
export function explain(error: ParhelionError): Explanation {
  return EXPLANATIONS[error.code];
}
