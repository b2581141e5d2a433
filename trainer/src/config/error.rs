//! Errors of configurations.

use std::borrow::Cow;
use std::path::PathBuf;

use hyperloader_core::files::FileError;
use hyperloader_core::method::Method;
use hyperloader_core::suggest;

/// A configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message says what each field is")]
pub enum ConfigError {
    /// A file or folder is unusable.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration file could not be read.
    #[error(
        "cannot read the configuration\nhint: run `hl-train` in a folder with `hyperloader.toml`, or name a configuration with `--config`"
    )]
    Read {
        /// The underlying error.
        source: FileError,
    },
    /// The file is not a configuration.
    #[error("`{}`: {reason}", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Description of the fault, with the line and the accepted values.
        reason: String,
    },
    /// The configuration has no task of this name.
    #[error("unknown task `{name}`, expected one of {known}{hint}")]
    UnknownTask {
        /// The name that was given.
        name: String,
        /// The names of all tasks.
        known: String,
        /// A `hint:` line with a similar name, or empty.
        hint: String,
    },
    /// A `--method-option` is not a hyper-parameter of the method, or its value has the wrong type.
    #[error("`{option}` for method `{method}`: {reason}")]
    MethodOption {
        /// The option as typed.
        option: String,
        /// The method that was requested.
        method: Method,
        /// Description of the fault.
        reason: String,
    },
    /// A value is out of range.
    #[error("`{field}` is {value}, expected {expected}")]
    Value {
        /// The key of the value.
        field: String,
        value: String,
        /// The accepted values.
        expected: Cow<'static, str>,
    },
}

/// A `hint:` line with a similar name, for serde's message about an unknown field or variant; empty if there is none. The
/// message quotes the unknown name first, then all known ones.
pub(crate) fn did_you_mean(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown"), quoted.next()) {
        (true, Some(typed)) => suggest::hint(typed, quoted),
        _ => String::new(),
    }
}
