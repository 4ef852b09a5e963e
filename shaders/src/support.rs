//! What the generated modules have in common.

use bytemuck::{Pod, Zeroable};

use crate::Kernel;

/// The overrides that a variant has, of all those of its kernel.
pub(crate) fn of_variant<const N: usize>(kernel: &Kernel, constants: [(&'static str, f64); N]) -> Vec<(&'static str, f64)> {
    let has = |name: &str| kernel.constants.iter().any(|c| c.name == name);
    constants.into_iter().filter(|(name, _)| has(name)).collect()
}

/// Parameters from a call's bytes; what is missing is zero and what is too much is left out.
pub(crate) fn params<P: Pod + Zeroable>(bytes: &[u8]) -> P {
    let mut params = P::zeroed();
    for (to, from) in bytemuck::bytes_of_mut(&mut params).iter_mut().zip(bytes) {
        *to = *from;
    }
    params
}
