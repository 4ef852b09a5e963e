/** Which device a model runs on. */
import { ParhelionError } from "../errors.js";
import { CPU_BYTES } from "../limits.js";
import type { DeviceChoice, Support } from "../types.js";

/**
 * The device for a choice.
 *
 * @param size tells the file's size, as far as it is known
 */
export async function chooseDevice(
  choice: DeviceChoice,
  support: () => Promise<Support>,
  size: () => Promise<number | undefined>,
): Promise<"webgpu" | "cpu"> {
  if (choice === "cpu") return "cpu";
  const found = await support();
  if (found.webgpu) return "webgpu";
  const why = `${found.reason ?? ""} ${found.advice ?? ""}`.trim();
  if (choice === "webgpu") throw new ParhelionError("no-webgpu", `${why} Small models also run with device: "cpu".`);
  const bytes = await size();
  if (bytes !== undefined && bytes <= CPU_BYTES) return "cpu";
  const large = bytes === undefined ? "of unknown size" : `of ${Math.round(bytes / 1e6)} MB`;
  const limit = `${CPU_BYTES / 1e6} MB`;
  throw new ParhelionError(
    "no-webgpu",
    `${why} Without it only models of up to ${limit} run by themselves, on the CPU; this one is ${large}. Choose a smaller model, or ask for device: "cpu" and be patient.`,
  );
}
