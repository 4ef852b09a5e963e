//! See [`parhelion_fuzz::config`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| parhelion_fuzz::config::run(input));
