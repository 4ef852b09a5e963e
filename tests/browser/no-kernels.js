// Runs in the worker before the package's code: makes every kernel compute nothing, so that a software GPU need not compile
// them. For tests of what is around the kernels.

const modules = new WeakMap();

function withoutCode(device, { layout }) {
  if (!modules.has(device)) modules.set(device, device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() {}" }));
  return { layout, compute: { module: modules.get(device), entryPoint: "main" } };
}

for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
  const original = GPUDevice.prototype[name];
  GPUDevice.prototype[name] = function (descriptor) {
    return original.call(this, withoutCode(this, descriptor));
  };
}
