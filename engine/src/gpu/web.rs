//! What wgpu leaves out of WebGPU in browsers: subgroups, the adapter's name, and pipelines compiled in the background.

use std::{cell::RefCell, rc::Rc};

use js_sys::{Array, Function, Object, Promise, Reflect};
use parhelion_shaders::{Access, Kernel};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

const SUBGROUPS: &str = "subgroups";

#[wasm_bindgen]
extern "C" {
    /// A `GPUDevice`, with the methods that wgpu's own binding keeps to itself.
    type RawDevice;

    #[wasm_bindgen(method, js_name = createShaderModule)]
    fn create_shader_module(this: &RawDevice, descriptor: &Object) -> JsValue;

    #[wasm_bindgen(method, catch, js_name = createBindGroupLayout)]
    fn create_bind_group_layout(this: &RawDevice, descriptor: &Object) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, js_name = createPipelineLayout)]
    fn create_pipeline_layout(this: &RawDevice, descriptor: &Object) -> JsValue;

    #[wasm_bindgen(method, js_name = createComputePipelineAsync)]
    fn create_compute_pipeline_async(this: &RawDevice, descriptor: &Object) -> Promise;
}

/// The browser's own object behind a wgpu adapter.
#[derive(Debug, Clone)]
pub(super) struct WebAdapter(JsValue);

impl WebAdapter {
    /// Runs `request`, which makes wgpu ask the browser for an adapter, and gives what the browser answered besides what wgpu
    /// makes of it: wgpu keeps the object to itself.
    pub(super) async fn beside<T, F: Future<Output = T>>(request: impl FnOnce() -> F) -> (T, Option<Self>) {
        const METHOD: &str = "requestAdapter";
        let Some(gpu) = get(&js_sys::global(), "navigator").and_then(|navigator| get(&navigator, "gpu")) else {
            return (request().await, None);
        };
        let Some(original) = function(&gpu, METHOD) else { return (request().await, None) };
        let answer: Rc<RefCell<Option<Promise>>> = Rc::default();
        let watched = {
            let (gpu, answer) = (gpu.clone(), Rc::clone(&answer));
            Closure::<dyn Fn(JsValue) -> Promise>::new(move |options: JsValue| {
                let promise = call(&original, &gpu, &options);
                *answer.borrow_mut() = Some(promise.clone());
                promise
            })
        };
        set(&gpu, METHOD, watched.as_ref());
        let requested = request();
        remove(&gpu, METHOD);
        let requested = requested.await;
        let promise = answer.borrow_mut().take();
        let adapter = match promise {
            Some(promise) => JsFuture::from(promise).await.ok(),
            None => None,
        };
        (requested, adapter.filter(|adapter| !adapter.is_null()).map(Self))
    }

    /// Whether devices can have subgroup operations: wgpu has no name for the feature here.
    pub(super) fn has_subgroups(&self) -> bool {
        get(&self.0, "features").is_some_and(|features| features.unchecked_into::<js_sys::Set>().has(&SUBGROUPS.into()))
    }

    /// Vendor, architecture and description, as far as the browser tells.
    pub(super) fn name(&self) -> String {
        let Some(info) = get(&self.0, "info") else { return String::new() };
        let words = ["vendor", "architecture", "device", "description"];
        let words = words.iter().filter_map(|key| get(&info, key)?.as_string().filter(|word| !word.is_empty()));
        words.fold(String::new(), |name, word| match name.to_lowercase().contains(&word.to_lowercase()) {
            true => name,
            false if name.is_empty() => word,
            false => format!("{name} {word}"),
        })
    }

    /// Runs `request`, which makes wgpu ask this adapter for a device, so that the device has subgroups too. The adapter's
    /// method is replaced for the length of the call.
    pub(super) fn with_subgroups<T>(&self, request: impl FnOnce() -> T) -> T {
        const METHOD: &str = "requestDevice";
        let Some(original) = function(&self.0, METHOD) else { return request() };
        let adapter = self.0.clone();
        let asked = Closure::<dyn Fn(JsValue) -> Promise>::new(move |descriptor: JsValue| {
            let features: Array = get(&descriptor, "requiredFeatures").map(JsCast::unchecked_into).unwrap_or_default();
            features.push(&SUBGROUPS.into());
            set(&descriptor, "requiredFeatures", &features);
            call(&original, &adapter, &descriptor)
        });
        set(&self.0, METHOD, asked.as_ref());
        let requested = request();
        remove(&self.0, METHOD);
        requested
    }
}

/// A pipeline to compile: a kernel with the values of its overrides.
pub(super) struct Job<'a> {
    /// The kernel's variant.
    pub(super) kernel: &'static Kernel,
    /// Values of its overrides.
    pub(super) constants: &'a [(&'static str, f64)],
}

/// Compiles pipelines side by side while the page goes on. wgpu makes them one after another, and the browser gives it those
/// that are here already as long as they are kept alive. What the browser refuses, wgpu reports.
pub(super) async fn compile(device: &wgpu::Device, jobs: &[Job<'_>]) -> Vec<JsValue> {
    let Some(raw) = device.as_webgpu() else { return Vec::new() };
    let raw: &RawDevice = AsRef::<JsValue>::as_ref(raw).unchecked_ref();
    let started: Vec<Promise> = jobs.iter().filter_map(|job| start(raw, job)).collect();
    let mut pipelines = Vec::with_capacity(started.len());
    for promise in started {
        pipelines.extend(JsFuture::from(promise).await.ok());
    }
    pipelines
}

fn start(device: &RawDevice, job: &Job<'_>) -> Option<Promise> {
    let Job { kernel, constants } = job;
    let module = device.create_shader_module(&object(&[("code", kernel.wgsl_web.into())]));
    let entries: Array = kernel.bindings.iter().map(|binding| layout_entry(kernel, binding.slot, binding.access)).collect();
    let layout = device.create_bind_group_layout(&object(&[("entries", entries.into())])).ok()?;
    let layout = device.create_pipeline_layout(&object(&[("bindGroupLayouts", Array::of1(&layout).into())]));
    let values = Object::new();
    for (name, value) in *constants {
        set(&values, name, &(*value).into());
    }
    let compute = object(&[("module", module), ("entryPoint", "main".into()), ("constants", values.into())]);
    Some(device.create_compute_pipeline_async(&object(&[("layout", layout), ("compute", compute.into())])))
}

/// The same entry that `pipeline.rs` describes to wgpu: pipelines are shared between equal layouts.
fn layout_entry(kernel: &Kernel, slot: u32, access: Access) -> JsValue {
    const COMPUTE: u32 = 4;
    let (kind, least) = match access {
        Access::Uniform => ("uniform", kernel.params_size),
        Access::Read => ("read-only-storage", 0),
        Access::ReadWrite => ("storage", 0),
    };
    let buffer = object(&[("type", kind.into()), ("minBindingSize", least.into())]);
    object(&[("binding", slot.into()), ("visibility", COMPUTE.into()), ("buffer", buffer.into())]).into()
}

fn object(fields: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in fields {
        set(&object, key, value);
    }
    object
}

fn get(target: &JsValue, key: &str) -> Option<JsValue> {
    Reflect::get(target, &key.into()).ok().filter(|value| !value.is_null() && !value.is_undefined())
}

/// Sets a field of an object of our own or of one that takes fields; elsewhere nothing changes.
fn set(target: &JsValue, key: &str, value: &JsValue) {
    let _ = Reflect::set(target, &key.into(), value);
}

/// Takes an own field away, so that the one of the object's class shows again.
fn remove(target: &JsValue, key: &str) {
    let _ = Reflect::delete_property::<JsValue>(target.unchecked_ref(), &key.into());
}

fn function(target: &JsValue, key: &str) -> Option<Function> {
    get(target, key)?.dyn_into().ok()
}

/// Calls a method that gives a promise; what it throws becomes a rejection.
fn call(method: &Function, this: &JsValue, argument: &JsValue) -> Promise {
    method.call1(this, argument).and_then(JsCast::dyn_into).unwrap_or_else(|error| Promise::reject(&error))
}
