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
