/** What this browser offers. */
import type { Support } from "./types.js";

const NO_WEBGPU = {
  insecure: {
    reason: "The page is not served over a secure connection, and browsers offer WebGPU only there.",
    advice: "Open the page over https:// or from localhost.",
  },
  missing: {
    reason: "This browser has no WebGPU.",
    advice: "Use a current Chrome, Edge, Firefox or Safari; on older systems WebGPU may have to be switched on in the browser's settings.",
  },
  noAdapter: {
    reason: "The browser has WebGPU, but found no graphics device for it.",
    advice: "Switch on hardware acceleration in the browser's settings, update the graphics driver, and restart the browser.",
  },
};

/** Asks the browser; never rejects. */
export async function support(): Promise<Support> {
  const none = { webgpu: false, device: undefined };
  const gpu: GPU | undefined = navigator.gpu;
  if (gpu === undefined) return { ...none, ...(isSecureContext ? NO_WEBGPU.missing : NO_WEBGPU.insecure) };
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (adapter === null) return { ...none, ...NO_WEBGPU.noAdapter };
  const { description, device, vendor, architecture, isFallbackAdapter } = adapter.info;
  const name = [description, device, architecture].find((text) => text !== "") ?? vendor;
  const subgroups = adapter.features.has("subgroups");
  const f16 = adapter.features.has("shader-f16");
  return { webgpu: true, reason: undefined, advice: undefined, device: { name, vendor, fallback: isFallbackAdapter, subgroups, f16 } };
}
