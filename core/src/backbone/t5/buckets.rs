//! Buckets of relative positions.

/// The bucket of `relative_position` = key index - query index (Raffel et al. 2020, section 2.1; numbers checked
/// against `golden/hyperloader/position_buckets.json`). Half of the buckets are exact, half logarithmic.
pub fn relative_position_bucket(
    relative_position: i64,
    bidirectional: bool,
    num_buckets: usize,
    max_distance: usize,
) -> usize {
    let (offset, buckets, distance) = if bidirectional {
        let half = num_buckets / 2;
        let offset = if relative_position > 0 { half } else { 0 };
        (offset, half, relative_position.unsigned_abs() as usize)
    } else {
        (0, num_buckets, usize::try_from(-relative_position).unwrap_or(0))
    };
    let exact = buckets / 2;
    if distance < exact {
        return offset + distance;
    }
    // In float32 like the reference, so that a boundary is rounded to the same side.
    let span = (max_distance as f64 / exact as f64).ln() as f32;
    let ratio = (distance as f32 / exact as f32).ln() / span;
    let logarithmic = exact + (ratio * (buckets - exact) as f32) as usize;
    offset + logarithmic.min(buckets - 1)
}
