/**
 * Asks the browser not to throw stored files out by itself; it may ask the user. Only pages may ask: workers have no
 * `persist()`. Returns whether it agreed; never rejects.
 */
export async function persist(): Promise<boolean> {
  try {
    return (await navigator.storage?.persist?.()) ?? false;
  } catch {
    return false;
  }
}
