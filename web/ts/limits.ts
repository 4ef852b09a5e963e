/** Limits that the page and the worker must agree on. */

/** The largest file that the CPU is offered for by itself, in bytes: SmolLM2-135M runs at reading speed, 1B does not. */
export const CPU_BYTES = 200_000_000;
