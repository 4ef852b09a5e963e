//! See [`parhelion_fuzz::safetensors`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parhelion_fuzz::safetensors::run(input));
