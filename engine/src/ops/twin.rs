//! What scalar twins have in common: typed views of bound words, and loops over the parts of an output.

use std::sync::{Mutex, PoisonError};

use bytemuck::Pod;

use crate::exec::Parallel;

/// Bound words as elements of type `T`.
///
/// # Errors
/// If the words are not a whole number of elements.
pub(crate) fn view<T: Pod>(words: &[u32]) -> Result<&[T], String> {
    bytemuck::try_cast_slice(words).map_err(|why| mismatch::<T>(words.len(), why))
}

/// Bound words as elements of type `T` that can be written.
///
/// # Errors
/// If the words are not a whole number of elements.
pub(crate) fn view_mut<T: Pod>(words: &mut [u32]) -> Result<&mut [T], String> {
    let len = words.len();
    bytemuck::try_cast_slice_mut(words).map_err(|why| mismatch::<T>(len, why))
}

fn mismatch<T>(words: usize, why: bytemuck::PodCastError) -> String {
    format!("{words} bound words are no array of {}: {why}", std::any::type_name::<T>())
}

/// What a twin says when its call lacks a binding.
pub(crate) fn unbound() -> String {
    "a binding of the kernel is missing".into()
}

/// Runs `body(i, part i)` for each part of an output, on the threads of `parallel`.
pub(crate) fn for_each_part<T: Send>(parallel: &dyn Parallel, parts: Vec<&mut [T]>, body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    let parts: Vec<Mutex<&mut [T]>> = parts.into_iter().map(Mutex::new).collect();
    parallel.for_each(parts.len(), &|i| body(i, &mut parts[i].lock().unwrap_or_else(PoisonError::into_inner)));
}

/// An f16 from its bits, without branches that keep loops from being vectorised: a product with 2^112 moves the exponent to
/// f32's bias and normalises subnormals.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u32) -> f32 {
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    let special = f32::from_bits(0x7f80_0000 | (bits & 0x3ff) << 13);
    let value = if bits & 0x7c00 == 0x7c00 { special } else { magnitude };
    f32::from_bits(value.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_f16_is_read_as_its_value() {
        for bits in 0..=u16::MAX {
            let (got, expected) = (f16_to_f32(u32::from(bits)), f16::from_bits(bits).to_f32());
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(), "{bits:#06x}: {got} for {expected}");
        }
    }
}
