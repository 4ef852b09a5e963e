//! How tensor elements are stored.

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal, $elems:literal, $bytes:literal;)+) => {
        /// The storage type of a tensor: a plain number type, or blocks of quantised values with their scales, as
        /// ggml's `ggml_type` numbers and lays them out. All types that files carry are known, so that any file can be
        /// listed; which ones can be computed with is the engine's matter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the names under which these formats are published")]
        #[non_exhaustive]
        pub enum DType {
            $($(#[$doc])* $variant,)+
        }

        impl DType {
            /// The type with ggml's number `id`, as stored in GGUF.
            pub fn from_ggml(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// ggml's number for the type.
            pub fn ggml_id(self) -> u32 {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The published name, such as `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Elements in one block; 1 for plain number types. A row holds whole blocks.
            pub fn block_elems(self) -> u64 {
                match self { $(Self::$variant => $elems,)+ }
            }

            /// Bytes of one block.
            pub fn block_bytes(self) -> u64 {
                match self { $(Self::$variant => $bytes,)+ }
            }
        }
    };
}

dtypes! {
    /// IEEE 754 single precision.
    F32 = 0, "F32", 1, 4;
    /// IEEE 754 half precision.
    F16 = 1, "F16", 1, 2;
    /// f16 scale, 32 x 4 bits.
    Q4_0 = 2, "Q4_0", 32, 18;
    /// f16 scale and minimum, 32 x 4 bits.
    Q4_1 = 3, "Q4_1", 32, 20;
    /// f16 scale, 32 x 5 bits.
    Q5_0 = 6, "Q5_0", 32, 22;
    /// f16 scale and minimum, 32 x 5 bits.
    Q5_1 = 7, "Q5_1", 32, 24;
    /// f16 scale, 32 x 8 bits.
    Q8_0 = 8, "Q8_0", 32, 34;
    /// f16 scale and sum, 32 x 8 bits.
    Q8_1 = 9, "Q8_1", 32, 36;
    /// Blocks of 256 with 4-bit scales and minima, 2 bits.
    Q2_K = 10, "Q2_K", 256, 84;
    /// Blocks of 256 with 6-bit scales, 3 bits.
    Q3_K = 11, "Q3_K", 256, 110;
    /// Blocks of 256 with 6-bit scales and minima, 4 bits.
    Q4_K = 12, "Q4_K", 256, 144;
    /// Blocks of 256 with 6-bit scales and minima, 5 bits.
    Q5_K = 13, "Q5_K", 256, 176;
    /// Blocks of 256 with 8-bit scales, 6 bits.
    Q6_K = 14, "Q6_K", 256, 210;
    /// f32 scale and sums, 256 x 8 bits.
    Q8_K = 15, "Q8_K", 256, 292;
    /// Codebook, about 2.06 bits an element.
    IQ2_XXS = 16, "IQ2_XXS", 256, 66;
    /// Codebook, about 2.31 bits an element.
    IQ2_XS = 17, "IQ2_XS", 256, 74;
    /// Codebook, about 3.06 bits an element.
    IQ3_XXS = 18, "IQ3_XXS", 256, 98;
    /// Codebook, about 1.56 bits an element.
    IQ1_S = 19, "IQ1_S", 256, 50;
    /// 4-bit non-linear values, one scale for 32.
    IQ4_NL = 20, "IQ4_NL", 32, 18;
    /// Codebook, about 3.44 bits an element.
    IQ3_S = 21, "IQ3_S", 256, 110;
    /// Codebook, about 2.56 bits an element.
    IQ2_S = 22, "IQ2_S", 256, 82;
    /// 4-bit non-linear values, scales for 32 in blocks of 256.
    IQ4_XS = 23, "IQ4_XS", 256, 136;
    /// Signed 8-bit integer.
    I8 = 24, "I8", 1, 1;
    /// Signed 16-bit integer.
    I16 = 25, "I16", 1, 2;
    /// Signed 32-bit integer.
    I32 = 26, "I32", 1, 4;
    /// Signed 64-bit integer.
    I64 = 27, "I64", 1, 8;
    /// IEEE 754 double precision.
    F64 = 28, "F64", 1, 8;
    /// Codebook, about 1.75 bits an element.
    IQ1_M = 29, "IQ1_M", 256, 56;
    /// The upper half of an f32.
    BF16 = 30, "BF16", 1, 2;
    /// Ternary, about 1.69 bits an element.
    TQ1_0 = 34, "TQ1_0", 256, 54;
    /// Ternary, about 2.06 bits an element.
    TQ2_0 = 35, "TQ2_0", 256, 66;
    /// OCP microscaling: a power-of-two scale, 32 x 4-bit floats.
    MXFP4 = 39, "MXFP4", 32, 17;
    /// NVIDIA's 4-bit floats: an 8-bit float scale for each 16 of 64.
    NVFP4 = 40, "NVFP4", 64, 36;
    /// f16 scale, 128 signs.
    Q1_0 = 41, "Q1_0", 128, 18;
    /// f16 scale, 64 x 2 bits.
    Q2_0 = 42, "Q2_0", 64, 18;
}

impl DType {
    /// The bytes that `elems` elements take, `None` where they are no whole number of blocks or the product overflows.
    pub fn bytes_for(self, elems: u64) -> Option<u64> {
        if !elems.is_multiple_of(self.block_elems()) {
            return None;
        }
        (elems / self.block_elems()).checked_mul(self.block_bytes())
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_removed_ids_stay_unknown() {
        let known: Vec<DType> = (0..64).filter_map(DType::from_ggml).collect();
        assert_eq!(known.len(), 35);
        assert!(known.iter().all(|&dtype| DType::from_ggml(dtype.ggml_id()) == Some(dtype)));
        // Q4_2, Q4_3, and the repacked layouts that ggml withdrew.
        assert!([4, 5, 31, 32, 33, 36, 37, 38].iter().all(|&id| DType::from_ggml(id).is_none()));
    }

    #[test]
    fn sizes_are_whole_blocks() {
        assert_eq!(DType::Q4_1.bytes_for(576), Some(360));
        assert_eq!(DType::Q6_K.bytes_for(512), Some(420));
        assert_eq!(DType::Q8_0.bytes_for(33), None);
        assert_eq!(DType::F32.bytes_for(u64::MAX), None);
    }
}
