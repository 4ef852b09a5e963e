/**
 * parhelion runs open language models straight from their GGUF files in the browser: on WebGPU, or on the CPU where there
 * is none.
 *
 * @packageDocumentation
 */
export * from "./errors.js";
export * from "./types.js";
