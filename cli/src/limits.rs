//! Options that withhold uncertain tags, for programs that tag.

use clap::Args;

/// How many of the answers may be wrong.
#[derive(Debug, Clone, Copy, Args)]
pub struct ErrorLimits {
    /// Withhold tags so that at most this share of the answered sentences has a wrong tag
    ///
    /// Sentences with lower scores than the share needs get no tags, and `"abstained":true` in JSON Lines. The share holds
    /// for sentences like those that `hl-train calibrate` counted.
    #[arg(long, value_name = "X", value_parser = inner_share, group = "limit")]
    pub max_error: Option<f64>,

    /// Withhold spans so that at most this share of the spans that are given out is wrong
    ///
    /// A span is wrong if its label or its words are. Withheld spans have the tag `O`, and `"withheld"` in JSON Lines is their
    /// number. The share holds for sentences like those that `hl-train calibrate` counted.
    #[arg(long, value_name = "X", value_parser = inner_share, group = "limit")]
    pub max_span_error: Option<f64>,

    /// Probability that the share of `--max-error` or `--max-span-error` holds
    #[arg(long, value_name = "X", default_value = "0.9", value_parser = inner_share, requires = "limit")]
    pub confidence: f64,
}

/// A number between 0 and 1, without these two.
fn inner_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}
