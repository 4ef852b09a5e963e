//! What measurements and tests share: synthetic models.

pub mod synth;
