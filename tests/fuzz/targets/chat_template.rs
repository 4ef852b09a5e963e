//! Chat templates: see [`parhelion_fuzz::chat_template`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parhelion_fuzz::chat_template::run(input));
