use super::*;
use crate::causes::with_causes;

fn parameters(config: &T5Config) -> usize {
    config.tensors().values().map(|s| s.iter().product::<usize>()).sum()
}

#[test]
fn published_checkpoints_have_their_published_sizes() {
    let base = T5Config::preset("t5-base").unwrap();
    assert_eq!(parameters(&base), 222_903_552);
    let with_bias = T5Config { cross_attention_relative_bias: true, ..base };
    assert_eq!(parameters(&with_bias), 222_903_936);
    assert_eq!(with_bias.norms().len(), 62);
    let small = T5Config::preset("t5-small").unwrap();
    assert_eq!(parameters(&small), 60_506_880 - 256);
}

#[test]
fn configurations_of_every_transformers_version_give_the_head_that_they_mean() {
    let read = |fields: &str| {
        let text = format!(
            r#"{{"vocab_size": 8, "d_model": 4, "d_kv": 2, "d_ff": 8, "num_layers": 1, "num_heads": 2 {fields}}}"#
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        T5Config::from_file(&path).map_err(|e| with_causes(&e))
    };
    for (fields, tied, scale) in [
        ("", true, 0.5),
        (r#", "tie_word_embeddings": false"#, false, 1.0),
        (r#", "tie_word_embeddings": true, "scale_decoder_outputs": false"#, true, 1.0),
        (r#", "tie_word_embeddings": true, "scale_decoder_outputs": true"#, true, 0.5),
    ] {
        let config = read(fields).unwrap();
        assert_eq!((config.tie_word_embeddings, config.head_scale()), (tied, scale), "{fields}");
    }
    let gated = read(r#", "feed_forward_proj": "gated-gelu", "model_type": "t5""#).unwrap();
    assert_eq!(gated.feed_forward_proj, FeedForward::GatedGelu);
    insta::assert_snapshot!(read(r#", "model_type": "mt5""#).unwrap_err(), @"field `model_type` of the T5 configuration is `mt5`, expected `t5`");
}

#[test]
fn an_unknown_preset_lists_the_known_ones() {
    let message = T5Config::preset("t5-bass").unwrap_err().to_string();
    assert!(message.contains("`t5-bass`") && message.contains("`t5-base`"), "{message}");
}

#[test]
fn all_distances_from_the_maximum_on_share_one_bucket() {
    for (bidirectional, buckets, max) in [(true, 32, 128), (false, 32, 128), (true, 16, 20)] {
        for beyond in [max, max + 1, 10 * max] {
            for sign in [-1, 1] {
                let bucket =
                    |d: usize| relative_position_bucket(sign * d as i64, bidirectional, buckets, max);
                assert_eq!(bucket(beyond), bucket(max));
            }
        }
    }
}
