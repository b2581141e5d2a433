//! Seeds of random generators.

/// A seed that `seed` and two numbers give. SplitMix64 (Steele et al. 2014) maps similar numbers to dissimilar values; the
/// multipliers are those of its golden-ratio sequence and of the one in two dimensions (Roberts 2018).
pub(crate) fn mixed(seed: u64, first: u64, second: u64) -> u64 {
    let mut z = seed
        .wrapping_add(second.wrapping_mul(0xC13F_A9A9_02A6_328F))
        .wrapping_add(first.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
