//! How tensor elements are stored.

macro_rules! dtypes {
    (
        ggml { $($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal, $elems:literal, $bytes:literal;)+ }
        others { $($(#[$other_doc:meta])* $other:ident, $other_name:literal, $other_elems:literal, $other_bytes:literal;)+ }
    ) => {
        /// The storage type of a tensor: a plain number type, or blocks of quantised values with their scales. Those of
        /// GGUF are as ggml's `ggml_type` numbers and lays them out; safetensors has more number types, and what
        /// [`crate::Checkpoint::read_rows`] puts together from several of its tensors has layouts of our own. All types
        /// that files carry are known, so that any file can be listed; which ones can be computed with is the engine's
        /// matter.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types, reason = "the names under which these formats are published")]
        #[non_exhaustive]
        pub enum DType {
            $($(#[$doc])* $variant,)+
            $($(#[$other_doc])* $other,)+
        }

        impl DType {
            /// The type with ggml's number `id`, as stored in GGUF.
            pub fn from_ggml(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// ggml's number for the type, `None` where it has none.
            pub fn ggml_id(self) -> Option<u32> {
                match self { $(Self::$variant => Some($id),)+ $(Self::$other => None,)+ }
            }

            /// The published name, such as `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ $(Self::$other => $other_name,)+ }
            }

            /// Elements in one block; 1 for plain number types. A row holds whole blocks.
            pub fn block_elems(self) -> u64 {
                match self { $(Self::$variant => $elems,)+ $(Self::$other => $other_elems,)+ }
            }

            /// Bytes of one block.
            pub fn block_bytes(self) -> u64 {
                match self { $(Self::$variant => $bytes,)+ $(Self::$other => $other_bytes,)+ }
            }
        }
    };
}

dtypes! {
    ggml {
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
    others {
        /// Truth value, a byte.
        BOOL, "BOOL", 1, 1;
        /// Unsigned 8-bit integer.
        U8, "U8", 1, 1;
        /// Unsigned 16-bit integer.
        U16, "U16", 1, 2;
        /// Unsigned 32-bit integer.
        U32, "U32", 1, 4;
        /// Unsigned 64-bit integer.
        U64, "U64", 1, 8;
        /// 8-bit float of 4 exponent bits, without infinities (OCP's E4M3).
        F8_E4M3, "F8_E4M3", 1, 1;
        /// 8-bit float of 5 exponent bits (OCP's E5M2).
        F8_E5M2, "F8_E5M2", 1, 1;
        /// Power of two, as a scale of blocks (OCP's E8M0).
        F8_E8M0, "F8_E8M0", 1, 1;
        /// 8-bit float of 4 exponent bits, without infinities and negative zero.
        F8_E4M3FNUZ, "F8_E4M3FNUZ", 1, 1;
        /// 8-bit float of 5 exponent bits, without infinities and negative zero.
        F8_E5M2FNUZ, "F8_E5M2FNUZ", 1, 1;
        /// Two 4-bit floats a byte.
        F4, "F4", 2, 1;
        /// Four 6-bit floats of 2 exponent bits in three bytes.
        F6_E2M3, "F6_E2M3", 4, 3;
        /// Four 6-bit floats of 3 exponent bits in three bytes.
        F6_E3M2, "F6_E3M2", 4, 3;
        /// Two F32: a complex number.
        C64, "C64", 1, 8;
        /// f32 scale and offset, 32 x 4 bits: GPTQ, AWQ, MLX, compressed-tensors.
        AFFINE4_32, "AFFINE4_32", 32, 24;
        /// f32 scale and offset, 64 x 4 bits.
        AFFINE4_64, "AFFINE4_64", 64, 40;
        /// f32 scale and offset, 128 x 4 bits.
        AFFINE4_128, "AFFINE4_128", 128, 72;
        /// f32 scale and offset, 32 x 8 bits.
        AFFINE8_32, "AFFINE8_32", 32, 40;
        /// f32 scale and offset, 64 x 8 bits.
        AFFINE8_64, "AFFINE8_64", 64, 72;
        /// f32 scale, 64 x 4 bits that stand for quantiles of a normal distribution: bitsandbytes.
        NF4, "NF4", 64, 36;
        /// f32 scale, 64 x F8_E4M3.
        SCALED_F8_E4M3, "F8_E4M3_64", 64, 68;
        /// f32 scale, 64 x F8_E5M2.
        SCALED_F8_E5M2, "F8_E5M2_64", 64, 68;
    }
}

impl DType {
    /// The type that safetensors calls `name`.
    pub fn from_safetensors(name: &str) -> Option<Self> {
        use DType::*;
        let known = [
            F32,
            F16,
            BF16,
            F64,
            F8_E4M3,
            F8_E5M2,
            F8_E8M0,
            F8_E4M3FNUZ,
            F8_E5M2FNUZ,
            F4,
            F6_E2M3,
            F6_E3M2,
            C64,
            BOOL,
            I8,
            I16,
            I32,
            I64,
            U8,
            U16,
            U32,
            U64,
        ];
        known.into_iter().find(|dtype| dtype.name() == name)
    }

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
        assert!(known.iter().all(|&dtype| dtype.ggml_id().and_then(DType::from_ggml) == Some(dtype)));
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
