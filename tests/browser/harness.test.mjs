// What the other suites stand on: the browser's WebGPU, its absence where it is switched off, and the server's faults.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server, withBrowser } from "./harness.mjs";

const BYTES = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));

let server;
before(async () => (server = await Server.start()));
after(() => server.close());

/** Mounts the bytes under a path of its own, so that tests do not see each other's faults. */
function mount(name, fault = null) {
  const url = server.mount(`/${name}.gguf`, BYTES);
  server.fault(`/${name}.gguf`, fault);
  return url;
}

const body = async (response) => Buffer.from(await response.arrayBuffer());

test("WebGPU works on a software GPU, with subgroups, under the strict policy", async () => {
  await withBrowser({}, async (browser, dist) => {
    const page = await browser.open(dist.url("/blank.html"));
    const adapter = await page.evaluate(async () => {
      const found = await navigator.gpu?.requestAdapter();
      return found && { features: [...found.features], secure: isSecureContext, isolated: crossOriginIsolated };
    });
    assert.ok(adapter, "requestAdapter gives an adapter");
    assert.ok(adapter.features.includes("subgroups"), adapter.features.join(", "));
    assert.ok(adapter.secure && !adapter.isolated);
    assert.deepEqual(browser.errors, []);
    const inline = await page.evaluate(async () => {
      const script = Object.assign(document.createElement("script"), { textContent: "globalThis.ran = true" });
      document.head.append(script);
      return globalThis.ran ?? false;
    });
    assert.equal(inline, false, "inline scripts are refused");
    assert.match(browser.errors.join("\n"), /Content Security Policy/);
  });
});

test("WebGPU can be switched off", async () => {
  await withBrowser({ webgpu: false }, async (browser, dist) => {
    const page = await browser.open(dist.url("/blank.html"));
    const offered = await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
    assert.equal(offered, false);
  });
});

test("the server serves ranges, and counts", async () => {
  const url = mount("ranges");
  for (const [range, status, start, end] of [
    [undefined, 200, 0, BYTES.length],
    ["bytes=5-9", 206, 5, 10],
    ["bytes=199990-", 206, 199_990, BYTES.length],
    ["bytes=-10", 206, BYTES.length - 10, BYTES.length],
    ["bytes=199990-999999", 206, 199_990, BYTES.length],
  ]) {
    const response = await fetch(url, { headers: range ? { range } : {} });
    assert.equal(response.status, status, range);
    assert.deepEqual(await body(response), BYTES.subarray(start, end), range);
  }
  const outside = await fetch(url, { headers: { range: "bytes=200000-" } });
  assert.equal(outside.status, 416);
  const traffic = server.traffic("/ranges.gguf");
  assert.equal(traffic.requests, 6);
  assert.equal(traffic.bytes, BYTES.length + 5 + 10 + 10 + 10);
  assert.deepEqual(traffic.ranges.slice(0, 2), [undefined, "bytes=5-9"]);
  const changed = await fetch(url, { headers: { range: "bytes=5-9", "if-range": '"other"' } });
  assert.equal(changed.status, 200, "If-Range with another tag gives the whole file");
});

test("the server's faults are what they say", async () => {
  const ignored = await fetch(mount("ignored", { ignoreRanges: true }), { headers: { range: "bytes=5-9" } });
  assert.deepEqual([ignored.status, (await body(ignored)).length], [200, BYTES.length]);
  assert.equal(ignored.headers.get("accept-ranges"), null);

  const html = await fetch(mount("html", { html: true }));
  assert.deepEqual([html.status, html.headers.get("content-type")], [200, "text/html"]);
  assert.equal((await fetch(mount("missing", { status: 404 }))).status, 404);
  assert.equal((await fetch(server.url("/nothing.gguf"))).status, 404);

  const flipped = await body(await fetch(mount("flipped", { flip: [7, 150_000] })));
  const wrong = [...flipped.keys()].filter((at) => flipped[at] !== BYTES[at]);
  assert.deepEqual(wrong, [7, 150_000]);

  const tags = mount("tags", { etag: '"new"', times: 1 });
  const [first, second] = [await fetch(tags), await fetch(tags)];
  assert.equal(first.headers.get("etag"), '"new"');
  assert.notEqual(second.headers.get("etag"), '"new"');
});

test("a connection is cut after exactly so many bytes", async () => {
  const reader = (await fetch(mount("cut", { cutAfter: 100_000 }))).body.getReader();
  let got = 0;
  await assert.rejects(async () => {
    for (;;) {
      const { done, value } = await reader.read();
      assert.equal(done, false, "the body must not end well");
      got += value.length;
    }
  }, (error) => error.name !== "AssertionError");
  assert.equal(server.traffic("/cut.gguf").bytes, 100_000);
  assert.equal(got, 100_000);
});

test("a slow server is slow, and one that is gone refuses", async () => {
  const start = performance.now();
  await body(await fetch(mount("slow", { bytesPerSecond: 400_000 })));
  assert.ok(performance.now() - start > 400, `${performance.now() - start} ms`);
  const url = mount("gone");
  server.offline();
  await assert.rejects(fetch(url));
  server.offline(false);
  assert.equal((await fetch(url)).status, 200);
});
