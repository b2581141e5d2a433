//! Names of the variants of options, for command lines and configurations.

/// A text that names no variant of an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {option} `{name}`, expected one of: {known}")]
pub struct UnknownName {
    /// The option, such as `decoding mode`.
    pub option: &'static str,
    /// Text that is no name.
    pub name: String,
    /// All names, separated by commas.
    pub known: String,
}

/// Implements `ALL`, `CHOICES`, `Display` and `FromStr` for an enum whose variants have names. The second text of a variant says
/// what it means, for help texts.
macro_rules! names {
    ($type:ident, $option:literal, $($variant:ident => $name:literal $help:literal),+ $(,)?) => {
        impl $type {
            /// All variants.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// All variants, each with its name and what it means.
            pub const CHOICES: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $name, $help)),+];
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $name),+
                })
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::names::UnknownName {
                        option: $option,
                        name: text.to_owned(),
                        known: [$($name),+].join(", "),
                    }),
                }
            }
        }
    };
}

pub(crate) use names;

#[cfg(test)]
mod tests {
    use crate::{BackendKind, DraftFrom, Mode, Split, Words};

    fn all_are_read_back<T>(all: &[T])
    where
        T: Copy
            + std::fmt::Debug
            + std::fmt::Display
            + PartialEq
            + std::str::FromStr<Err = super::UnknownName>,
    {
        for variant in all {
            assert_eq!(variant.to_string().parse::<T>(), Ok(*variant));
        }
    }

    #[test]
    fn names_are_read_back_and_others_are_refused_with_those_that_exist() {
        all_are_read_back(BackendKind::ALL);
        all_are_read_back(DraftFrom::ALL);
        all_are_read_back(Split::ALL);
        all_are_read_back(Words::ALL);
        all_are_read_back(Mode::ALL);
        assert_eq!(
            "beam".parse::<Mode>().unwrap_err().to_string(),
            "unknown decoding mode `beam`, expected one of: verified, greedy, constrained, draft"
        );
    }
}
