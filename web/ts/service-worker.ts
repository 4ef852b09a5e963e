// Makes the page itself work offline. The build puts the list of the page's files, with their hashes, in front of this
// script (scripts/page.mjs), so that any change of any file is a new service worker. Model files are no business of it:
// they lie in the browser's storage, and requests for them pass by untouched.
//
// It runs as a classic script, as not every browser takes service workers that are modules.

/** What the build knows of the page; paths are relative to the worker's own address. */
interface Precache {
  /** Changes when any file does. */
  version: string;
  /** SHA-256 of each file in hexadecimal, by path. */
  files: Record<string, string>;
}

const worker = self as unknown as ServiceWorkerGlobalScope & { PRECACHE: Precache };
const BASE = new URL("./", worker.location.href).href;
// The scope is part of the name: several copies of the page may live on one origin.
const CACHE_PREFIX = `parhelion-page:${BASE}:`;
const CACHE = CACHE_PREFIX + worker.PRECACHE.version;
const START = "index.html";
/** Lists that change without the page: asked for anew, and remembered for when there is no network. */
const FRESH = new Set(["models/index.json"]);

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(activate()));
worker.addEventListener("message", (event) => {
  if ((event.data as { kind?: unknown } | null)?.kind === "activate") event.waitUntil(worker.skipWaiting());
});
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  const path = pathOf(request.url);
  if (path === undefined) return;
  if (FRESH.has(path)) event.respondWith(networkFirst(request, path));
  else if (path in worker.PRECACHE.files) event.respondWith(cacheFirst(request, path));
});

/** The path of one of the page's own addresses, relative to the page; undefined for any other address. */
function pathOf(address: string): string | undefined {
  const url = new URL(address);
  url.search = "";
  url.hash = "";
  if (!url.href.startsWith(BASE)) return undefined;
  const path = url.href.slice(BASE.length);
  return path === "" ? START : path;
}

/** Fetches every file of this version; what an earlier version has unchanged is not fetched again. */
async function install(): Promise<void> {
  const cache = await caches.open(CACHE);
  const earlier = await earlierCaches();
  const files = Object.entries(worker.PRECACHE.files);
  await Promise.all(files.map(async ([path, hash]) => cache.put(BASE + path, await obtain(path, hash, earlier))));
}

async function earlierCaches(): Promise<Cache[]> {
  const names = (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE);
  return Promise.all(names.map((name) => caches.open(name)));
}

async function obtain(path: string, hash: string, earlier: readonly Cache[]): Promise<Response> {
  for (const cache of earlier) {
    const response = await cache.match(BASE + path);
    if (response === undefined) continue;
    const copy = await whole(response);
    if (copy.hash === hash) return copy.response;
  }
  const response = await fetch(BASE + path, { cache: "reload" });
  if (!response.ok) throw new Error(`${path}: the server answered ${response.status}`);
  const copy = await whole(response);
  // A deployment caught half-way is not kept: the browser tries again later, and the version at hand goes on working.
  if (copy.hash !== hash) throw new Error(`${path} is not of version ${worker.PRECACHE.version}`);
  return copy.response;
}

/** The response read to its end, with its hash; built anew, since one that was redirected cannot answer a navigation. */
async function whole(response: Response): Promise<{ response: Response; hash: string }> {
  const bytes = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const headers = { "content-type": response.headers.get("content-type") ?? "application/octet-stream" };
  return { response: new Response(bytes, { headers }), hash };
}

async function activate(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(CACHE_PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  // The page that installed the first version is served by it at once: it works offline without a second visit.
  await worker.clients.claim();
}

async function cacheFirst(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  return (await cache.match(BASE + path)) ?? fetch(request);
}

async function networkFirst(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(BASE + path, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(BASE + path);
    if (kept === undefined) throw error;
    return kept;
  }
}
