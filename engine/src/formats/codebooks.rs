//! The grids of the IQ types, as they stand in front of the scales: `codebooks.py` makes the file and says what a word is.

const FILE: &[u8; 4 * 4608] = include_bytes!("codebooks.bin");

/// `N` words of the file from word `first` on.
const fn words<const N: usize>(first: usize) -> [u32; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < N {
        let at = 4 * (first + i);
        out[i] = u32::from_le_bytes([FILE[at], FILE[at + 1], FILE[at + 2], FILE[at + 3]]);
        i += 1;
    }
    out
}

pub(super) static IQ2_XXS: [u32; 256] = words(0);
pub(super) static IQ2_XS: [u32; 512] = words(256);
pub(super) static IQ2_S: [u32; 1024] = words(768);
pub(super) static IQ3_XXS: [u32; 256] = words(1792);
pub(super) static IQ3_S: [u32; 512] = words(2048);
/// Of IQ1_S and IQ1_M.
pub(super) static IQ1: [u32; 2048] = words(2560);
