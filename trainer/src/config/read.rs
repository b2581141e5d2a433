//! Reading a configuration, and overriding its values.

use std::path::Path;

use hyperloader_core::files::read_text;
use hyperloader_core::method::{Method, MethodConfig};
use hyperloader_core::suggest;
use serde::Deserialize;
use toml::de::{DeTable, ValueDeserializer};
use toml::{Table, Value};

use super::Config;
use super::error::{ConfigError, did_you_mean};
use super::preset::fill;

impl Config {
    /// Reads a configuration. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// If the file is missing, or has an unknown key or a value of the wrong type. [`Config::validate`] checks the ranges of
    /// the values, after the command line has overridden some.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|source| ConfigError::Read { source })?;
        let unusable = |e: toml::de::Error| ConfigError::Format {
            path: path.to_owned(),
            reason: format!("{}{}", e.to_string().trim_end(), did_you_mean(e.message())),
        };
        check_method(&text).map_err(|(method, e)| {
            let stray = e.message().starts_with("unknown field") && did_you_mean(e.message()).is_empty();
            let text = e.to_string();
            let hint = format!("hint: `{method}` has no such hyper-parameter");
            match stray {
                true => ConfigError::Format {
                    path: path.to_owned(),
                    reason: format!("{}\n{hint}", text.trim_end()),
                },
                false => unusable(e),
            }
        })?;
        let mut config: Self = toml::from_str(&text).map_err(unusable)?;
        if let Some(preset) = config.preset {
            // The text was read on its own first, so that errors name a line.
            let merged = text.parse().and_then(|table| preset.under(table)).map_err(unusable)?;
            config = merged.try_into().map_err(unusable)?;
        }
        Ok(config.resolved(path.parent().unwrap_or(Path::new(""))))
    }

    /// Removes all tasks but those in `names`.
    ///
    /// # Errors
    /// If a name is not the name of a task.
    pub fn keep_tasks(&mut self, names: &[String]) -> Result<(), ConfigError> {
        if let Some(name) = names.iter().find(|name| !self.tasks.contains_key(*name)) {
            let known = self.tasks.keys().map(String::as_str);
            return Err(ConfigError::UnknownTask {
                name: name.clone(),
                known: known.clone().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", "),
                hint: suggest::hint(name, known),
            });
        }
        self.tasks.retain(|name, _| names.contains(name));
        Ok(())
    }

    /// Sets a hyper-parameter of the method from `KEY=VALUE`, such as `reduction_factor=8` or `lora.rank=4`.
    ///
    /// # Errors
    /// If the method has no such hyper-parameter, or the value has the wrong type.
    pub fn set_method_option(&mut self, option: &str) -> Result<(), ConfigError> {
        let method = self.method.method();
        let unusable =
            |reason: String| ConfigError::MethodOption { option: option.to_owned(), method, reason };
        let (key, value) = option.split_once('=').ok_or_else(|| unusable("expected `KEY=VALUE`".into()))?;
        // A value that is not TOML, such as a word without quotes, is a string.
        let typed = option.parse::<Table>().or_else(|_| format!("{key}={}", Value::from(value)).parse());
        let mut table = typed.map_err(|e| unusable(e.message().to_owned()))?;
        fill(&mut table, Table::try_from(&self.method).map_err(|e| unusable(e.to_string()))?);
        self.method = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            unusable(format!("{}{}", e.message(), did_you_mean(e.message())))
        })?;
        Ok(())
    }
}

/// Reads `[method]` on its own, as the hyper-parameters of its method, so that an error has a line. Other errors of the text
/// are found later.
fn check_method(text: &str) -> Result<(), (Method, toml::de::Error)> {
    let table = DeTable::parse(text).ok().and_then(|document| document.into_inner().remove("method"));
    let Some(table) = table.filter(|table| table.get_ref().is_table()) else { return Ok(()) };
    let placed = |method| {
        move |mut error: toml::de::Error| {
            error.set_input(Some(text));
            (method, error)
        }
    };
    let method = match table.get_ref().get("method") {
        Some(name) => Method::deserialize(ValueDeserializer::from(name.clone())),
        None => Ok(Method::default()),
    };
    let method = method.map_err(placed(Method::default()))?;
    MethodConfig::read(method, ValueDeserializer::from(table)).map(|_| ()).map_err(placed(method))
}
