//! GGUF headers: see [`parhelion_fuzz::gguf`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parhelion_fuzz::gguf::run(input));
