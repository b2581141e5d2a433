//! The keys that clients must send.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use hyperloader_core::causes::with_causes;
use hyperloader_core::files::read_text;
use sha2::{Digest, Sha256};

use crate::error::ServeError;

/// The keys of a file. They are kept and compared as hashes, so that the time of a comparison tells nothing about a key.
#[derive(Debug)]
pub(crate) struct Keys {
    path: PathBuf,
    hashes: RwLock<HashSet<[u8; 32]>>,
}

impl Keys {
    /// Reads the keys, one per line. Blank lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// If the file cannot be read, or has no key, or a key that cannot be sent.
    pub(crate) fn read(path: &Path) -> Result<Self, ServeError> {
        Ok(Self { path: path.to_owned(), hashes: RwLock::new(hashes(path)?) })
    }

    /// Reads the file again. If it cannot be used, the earlier keys stay.
    ///
    /// # Errors
    /// As [`Keys::read`].
    pub(crate) fn reload(&self) -> Result<(), ServeError> {
        let hashes = hashes(&self.path)?;
        *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = hashes;
        Ok(())
    }

    /// Whether a request has one of the keys, as `Authorization: Bearer KEY` or as `X-API-Key: KEY`.
    pub(crate) fn allow(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| {
            let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let plain = || headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(str::trim);
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        bearer.or_else(plain).is_some_and(|key| hashes.contains(&hash(key)))
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn hashes(path: &Path) -> Result<HashSet<[u8; 32]>, ServeError> {
    let fault = |reason| ServeError::Keys { path: path.to_owned(), reason };
    let text = read_text(path).map_err(|error| fault(with_causes(&error)))?;
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
    let keys: Vec<(usize, &str)> =
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    if let Some((number, _)) = keys.iter().find(|(_, key)| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(fault(format!("the key in line {number} has characters that a header cannot have")));
    }
    if keys.is_empty() {
        return Err(fault("it has no key".to_owned()));
    }
    Ok(keys.into_iter().map(|(_, key)| hash(key)).collect())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_key_is_taken_from_either_header_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, "# first\nabc\n\n  d=e/f \n").unwrap();
        let keys = Keys::read(&path).unwrap();
        let cases = [
            ("authorization", "Bearer abc", true),
            ("authorization", "bearer  d=e/f", true),
            ("x-api-key", "abc", true),
            ("x-api-key", "ab", false),
            ("x-api-key", "# first", false),
            ("x-api-key", "", false),
            ("authorization", "Basic abc", false),
            ("authorization", "abc", false),
            ("cookie", "abc", false),
        ];
        for (name, value, allowed) in cases {
            assert_eq!(keys.allow(&headers(name, value)), allowed, "{name}: {value}");
        }
        std::fs::write(&path, "new\n").unwrap();
        keys.reload().unwrap();
        assert!(keys.allow(&headers("x-api-key", "new")) && !keys.allow(&headers("x-api-key", "abc")));
        for (bad, reason) in [("\n# a\n", "it has no key"), ("a b\n", "the key in line 1 has characters")] {
            std::fs::write(&path, bad).unwrap();
            assert!(keys.reload().unwrap_err().to_string().contains(reason));
        }
        assert!(keys.allow(&headers("x-api-key", "new")), "the earlier keys stay");
    }
}
