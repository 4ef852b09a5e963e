// Runs in the worker before the package's code: counts what is made on GPU devices and not freed, and asks on request.
// A buffer is free when it, or its device, was destroyed.

const open = new Set();
const totals = { made: 0, freed: 0 };

function wrap(type, name, after) {
  const original = type.prototype[name];
  type.prototype[name] = function (...args) {
    const result = original.apply(this, args);
    after(this, result);
    return result;
  };
}

function free(entry) {
  if (open.delete(entry)) totals.freed += 1;
}

const entries = new WeakMap();
wrap(GPUDevice, "createBuffer", (device, buffer) => {
  const entry = { device, size: buffer.size };
  entries.set(buffer, entry);
  open.add(entry);
  totals.made += 1;
});
wrap(GPUBuffer, "destroy", (buffer) => free(entries.get(buffer)));
wrap(GPUDevice, "destroy", (device) => [...open].filter((entry) => entry.device === device).forEach(free));

const channel = new BroadcastChannel("gpu-ledger");
channel.addEventListener("message", ({ data }) => {
  if (data === "ask") channel.postMessage({ ...totals, open: open.size, bytes: [...open].reduce((sum, { size }) => sum + size, 0) });
});
