/**
 * What can go wrong, as a fixed list of codes: programs decide by the code, people read the message.
 *
 * - `no-webgpu`: the browser has no WebGPU, or switched it off
 * - `no-device`: WebGPU is there, but gave no device
 * - `missing-feature`: the device lacks something that the model cannot run without
 * - `device-lost`: the GPU went away again soon after the session had recovered from a first loss
 * - `out-of-memory`: the GPU (or the tab) has too little memory
 * - `over-limit`: the model needs a larger buffer or binding than the device offers
 * - `wrong-results`: the device computes wrongly, with every optional feature off too
 * - `unsupported-model`: a sound file of an architecture or weight format that cannot be run
 * - `bad-file`: not a sound model file
 * - `no-chat-template`, `template`: the model has no chat template; the template failed on these messages
 * - `prompt-too-long`: the prompt does not fit the context
 * - `option`: an option out of its range, or one that is not supported
 * - `network`: the connection failed, or stopped in mid-download
 * - `not-found`: a file that the model needs is not there, or no such model is listed
 * - `not-a-model`: the server answered with a web page, or something else, instead of a model's file
 * - `no-ranges`: the server cannot send parts of a file and the file cannot be fetched without
 * - `changed`: the file changed on the server during the download
 * - `integrity`: wrong sha256, or a stored piece that was damaged
 * - `quota`, `evicted`, `storage`: no room in the browser's storage; the browser threw the file out; storage failed
 * - `aborted`: an `AbortSignal` fired
 * - `busy`: something else is using what was asked for
 * - `disposed`: the session was disposed of
 * - `internal`: a fault in parhelion itself; the session is dead
 */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Every {@link ErrorCode}. */
export const ERROR_CODES = [
  "no-webgpu",
  "no-device",
  "missing-feature",
  "device-lost",
  "out-of-memory",
  "over-limit",
  "wrong-results",
  "unsupported-model",
  "bad-file",
  "no-chat-template",
  "template",
  "prompt-too-long",
  "option",
  "network",
  "not-found",
  "not-a-model",
  "no-ranges",
  "changed",
  "integrity",
  "quota",
  "evicted",
  "storage",
  "aborted",
  "busy",
  "disposed",
  "internal",
] as const;

/** The only kind of error that parhelion's promises and iterators end with. */
export class ParhelionError extends Error {
  override readonly name = "ParhelionError";

  /**
   * @param code what went wrong, for programs
   * @param message what went wrong and what to do next, for people
   * @param options the error that caused this one
   */
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /**
   * Any thrown value as a ParhelionError: errors that carry one of the codes keep it (so do those of the wasm module),
   * an `AbortError` becomes `aborted`, the browser's `QuotaExceededError` becomes `quota`, all others get `fallback`.
   */
  static from(thrown: unknown, fallback: ErrorCode = "internal"): ParhelionError {
    if (thrown instanceof ParhelionError) return thrown;
    const { code, name, message } = describe(thrown);
    if (isErrorCode(code)) return new ParhelionError(code, message, { cause: thrown });
    if (name === "AbortError") return new ParhelionError("aborted", "The operation was aborted.", { cause: thrown });
    if (name === "QuotaExceededError") {
      const next = "Remove stored models or free disk space, then try again.";
      return new ParhelionError("quota", `The browser's storage is full: ${message}. ${next}`, { cause: thrown });
    }
    return new ParhelionError(fallback, message, { cause: thrown });
  }
}

/** Whether a value is one of the codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return (ERROR_CODES as readonly unknown[]).includes(value);
}

function describe(thrown: unknown): { code: unknown; name: unknown; message: string } {
  if (typeof thrown !== "object" || thrown === null) return { code: undefined, name: undefined, message: String(thrown) };
  const { code, name, message } = thrown as { code?: unknown; name?: unknown; message?: unknown };
  return { code, name, message: typeof message === "string" && message !== "" ? message : String(thrown) };
}
