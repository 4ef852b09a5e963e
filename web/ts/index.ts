/**
 * parhelion runs open language models straight from their GGUF files or safetensors repositories in the browser: on WebGPU, or on
 * the CPU where there is none.
 *
 * @packageDocumentation
 */
export * from "./errors.js";
export { Generation } from "./generation.js";
export * from "./openai.js";
export { Parhelion } from "./parhelion.js";
export type { DoctorOptions } from "./parhelion.js";
export { Session } from "./session.js";
export * from "./types.js";
