//! See [`parhelion_fuzz::tokenizer`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parhelion_fuzz::tokenizer::run(input));
