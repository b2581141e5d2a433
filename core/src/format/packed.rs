//! Long texts in metadata: UTF-8, compressed by xz, in base64. A tokenizer shrinks from 1.4 to 0.5 MB.

use std::io::{self, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lzma_rust2::{XzOptions, XzReader, XzWriter};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// xz's default level.
const PRESET: u32 = 6;
/// Most KiB of memory for unpacking, far more than [`PRESET`] needs.
const MEMORY_KIB: u32 = 1 << 16;
/// Most bytes of unpacked text.
const MAX_BYTES: u64 = 1 << 28;

/// `text` as base64 of xz.
///
/// # Errors
/// Only if the compressor fails.
pub fn pack(text: &str) -> io::Result<String> {
    let mut writer = XzWriter::new(Vec::new(), XzOptions::with_preset(PRESET))?;
    writer.write_all(text.as_bytes())?;
    Ok(STANDARD.encode(writer.finish()?))
}

/// Unpacks what [`pack`] made.
///
/// # Errors
/// If `packed` is not base64 of xz of UTF-8, or unpacks to more than 256 MiB.
pub fn unpack(packed: &str) -> io::Result<String> {
    let bytes = STANDARD.decode(packed).map_err(io::Error::other)?;
    let mut text = String::new();
    let reader = XzReader::new_mem_limit(bytes.as_slice(), false, MEMORY_KIB);
    reader.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    match text.len() as u64 > MAX_BYTES {
        true => Err(io::Error::other(format!("it unpacks to more than {MAX_BYTES} bytes"))),
        false => Ok(text),
    }
}

/// For `#[serde(with = "packed")]`.
pub(crate) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&pack(text).map_err(S::Error::custom)?)
}

/// For `#[serde(with = "packed")]`.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let packed = String::deserialize(deserializer)?;
    unpack(&packed).map_err(|e| D::Error::custom(format!("packed text is damaged: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_texts_are_unpacked(text in ".{0,300}") {
            prop_assert_eq!(unpack(&pack(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn damaged_packs_are_refused_or_harmless(text in "[a-z]{40,300}", at in 0usize..100, byte: u8) {
            let mut bytes = STANDARD.decode(pack(&text).unwrap()).unwrap();
            let at = at % bytes.len();
            let same = std::mem::replace(&mut bytes[at], byte) == byte;
            let found = unpack(&STANDARD.encode(&bytes));
            prop_assert!(same || found.is_err() || found.unwrap() == text);
            prop_assert!(unpack(&STANDARD.encode(&bytes[..at])).is_err());
        }
    }

    #[test]
    fn a_tokenizer_shrinks_to_two_fifths() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/backbones/t5-nano/tokenizer.json");
        let text = std::fs::read_to_string(path).unwrap();
        let packed = pack(&text).unwrap();
        assert!(packed.len() * 5 < text.len() * 2, "{} of {}", packed.len(), text.len());
        assert_eq!(unpack(&packed).unwrap(), text);
    }
}
