// Numbers as people read them. Everything here is pure, and in the units that browsers and model hubs use
// (decimal bytes), so that a size on the page is the size on the hub.

const BYTE_UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** `98362432` -> `"98.4 MB"`; decimal units, three significant digits at most. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes) || bytes < 0) return "unknown size";
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1;
  return `${value.toFixed(digits)} ${BYTE_UNITS[unit]}`;
}

/** Seconds -> `"8 s"`, `"3 min"`, `"2 h 10 min"`; never more precise than an estimate deserves. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "unknown time";
  const whole = Math.ceil(seconds);
  if (whole < 90) return `${whole} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${rest} min`;
}

/** Bytes per second -> `"12.3 MB/s"`. */
export function formatSpeed(bytesPerSecond: number): string {
  return `${formatBytes(bytesPerSecond)}/s`;
}

/** Tokens per second -> `"41.2 tok/s"`. */
export function formatRate(tokensPerSecond: number): string {
  if (!Number.isFinite(tokensPerSecond) || tokensPerSecond <= 0) return "";
  return `${tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0)} tok/s`;
}

/** `4096` -> `"4,096"`, the same in every locale, as the rest of the page is in English. */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-GB");
}

/** `135000000` -> `"135M"`. */
export function formatParameters(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(parameters < 9.95e9 ? 1 : 0)}B`;
  if (parameters >= 1e6) return `${Math.round(parameters / 1e6)}M`;
  return formatCount(parameters);
}

/** The last component of a URL or path without its extension: what an unnamed model is called. */
export function nameFromUrl(url: string): string {
  const path = url.split(/[?#]/, 1)[0] ?? url;
  const last = path.split("/").filter(Boolean).pop() ?? path;
  let name = last;
  try {
    name = decodeURIComponent(last);
  } catch {
    // A stray percent sign: the name as it stands is good enough to show.
  }
  return name.replace(/\.gguf$/i, "") || "model";
}
