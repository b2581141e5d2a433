//! The environment variables of the hub, with the meaning that they have for Python's `huggingface_hub` 2.4.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::error::HubError;

/// The address of the hub, unless `HF_ENDPOINT` replaces it.
const ENDPOINT: &str = "https://huggingface.co";

/// The settings that environment variables make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) cache: PathBuf,
    pub(super) token: Option<String>,
    pub(super) offline: bool,
}

impl Settings {
    /// The settings of this process.
    pub(super) fn from_env() -> Result<Self, HubError> {
        Self::new(&|name| env::var_os(name), env::home_dir())
    }

    /// The settings that `variable` makes; `home` is the home folder.
    fn new(variable: &dyn Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Result<Self, HubError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| set(name).and_then(|value| value.into_string().ok());
        let is_true =
            |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str());
        let path = |name: &str| Some(expand(set(name)?, variable, home.as_ref()));
        let caches = path("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
        let hf_home = path("HF_HOME").or_else(|| Some(caches?.join("huggingface")));
        let inside = |name: &str| hf_home.as_ref().map(|folder| folder.join(name));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).or_else(|| inside("hub"));
        let stored = || fs::read_to_string(path("HF_TOKEN_PATH").or_else(|| inside("token"))?).ok();
        let implicit = !text("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(is_true);
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(stored);
        let token = token.filter(|_| implicit).map(|token| token.trim().to_owned());
        Ok(Self {
            endpoint: text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim_end_matches('/').to_owned(),
            cache: cache.ok_or(HubError::NoHome)?,
            token: token.filter(|token| !token.is_empty()),
            offline: text("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE")).is_some_and(is_true),
        })
    }
}

/// A path with `~` at its beginning, and `$NAME` and `${NAME}` anywhere, replaced. Unknown variables stay as they are.
fn expand(path: OsString, variable: &dyn Fn(&str) -> Option<OsString>, home: Option<&PathBuf>) -> PathBuf {
    let Some(text) = path.to_str() else { return path.into() };
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let (name, end) = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((name, end)) => (name, end),
            None => {
                let length = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                after.split_at(length.unwrap_or(after.len()))
            }
        };
        match variable(name).and_then(|value| value.into_string().ok()) {
            Some(value) if !name.is_empty() => expanded.push_str(&value),
            _ => {
                expanded.push('$');
                expanded.push_str(&after[..after.len() - end.len()]);
            }
        }
        rest = end;
    }
    expanded.push_str(rest);
    match (expanded.strip_prefix('~'), home) {
        (Some(below), Some(home)) if below.is_empty() || below.starts_with('/') => {
            home.join(below.trim_start_matches('/'))
        }
        _ => expanded.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| {
            let (_, value) = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(value))
        };
        Settings::new(&variable, Some("/home/me".into())).unwrap()
    }

    #[test]
    fn the_cache_is_found_as_in_python() {
        for (variables, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/xdg")], "/xdg/huggingface/hub"),
            (&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/xdg")], "/hf/hub"),
            (&[("HF_HOME", "~/hf")], "/home/me/hf/hub"),
            (&[("HF_HOME", "$BASE/${SUB}/hf"), ("BASE", "/b"), ("SUB", "s")], "/b/s/hf/hub"),
            (&[("HF_HOME", "/hf/$NONE")], "/hf/$NONE/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old"),
            (&[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/new"),
            (&[("HF_HUB_CACHE", "")], "/home/me/.cache/huggingface/hub"),
        ] {
            assert_eq!(settings(variables).cache, PathBuf::from(cache), "{variables:?}");
        }
    }

    #[test]
    fn downloads_are_disabled_by_either_variable() {
        for (variables, offline) in [
            (&[][..], false),
            (&[("HF_HUB_OFFLINE", "1")], true),
            (&[("HF_HUB_OFFLINE", "Yes")], true),
            (&[("HF_HUB_OFFLINE", "0")], false),
            (&[("TRANSFORMERS_OFFLINE", "TRUE")], true),
            (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false),
        ] {
            assert_eq!(settings(variables).offline, offline, "{variables:?}");
        }
    }

    #[test]
    fn the_token_is_found_as_in_python() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("token"), "stored\n").unwrap();
        fs::write(at("other"), "elsewhere").unwrap();
        let (home, other) = (at(""), at("other"));
        let home = ("HF_HOME", home.as_str());
        for (variables, token) in [
            (&[][..], None),
            (&[home], Some("stored")),
            (&[home, ("HF_TOKEN_PATH", &other)], Some("elsewhere")),
            (&[home, ("HUGGING_FACE_HUB_TOKEN", "old")], Some("old")),
            (&[home, ("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new\n")], Some("new")),
            (&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
        ] {
            assert_eq!(settings(variables).token.as_deref(), token, "{variables:?}");
        }
    }

    #[test]
    fn the_endpoint_has_no_slash_at_its_end() {
        assert_eq!(settings(&[]).endpoint, ENDPOINT);
        assert_eq!(settings(&[("HF_ENDPOINT", "http://mirror/")]).endpoint, "http://mirror");
    }

    #[test]
    fn without_a_home_folder_the_variables_are_enough() {
        let none = |_: &str| None;
        assert!(matches!(Settings::new(&none, None), Err(HubError::NoHome)));
        let cache = |name: &str| (name == "HF_HUB_CACHE").then(|| "/c".into());
        assert_eq!(Settings::new(&cache, None).unwrap().cache, PathBuf::from("/c"));
    }
}
