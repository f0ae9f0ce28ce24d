//! The description of a setting, and the macro that makes a section of the configuration from it.

use super::error::ConfigError;
use super::file::Scope;
use super::value::Value;

/// One key: everything its reader, its error messages and its documentation need.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Name of the section, empty at the top of the file.
    pub section: &'static str,
    /// Name within the section.
    pub name: &'static str,
    /// Whether the section is a list of tables (`[[lane]]`).
    pub listed: bool,
    /// What it does, a line an element.
    pub meaning: &'static [&'static str],
    /// The value if nothing is written, as it would be written; `none` leaves it out.
    pub default: &'static str,
    /// What may be written.
    pub allowed: Allowed,
    /// What hurts if it is too low, or chosen this way.
    pub too_low: &'static str,
    /// What hurts if it is too high, or chosen the other way.
    pub too_high: &'static str,
}

/// What may be written for a setting.
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// `true` or `false`.
    Bool,
    /// A number within these bounds.
    Count(u64, u64),
    /// A size within these bounds, given as text.
    Size(&'static str, &'static str),
    /// A duration within these bounds, given as text.
    Duration(&'static str, &'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    /// What this sentence says.
    Text(&'static str),
}

/// What the default of a setting that must be written says.
pub(super) const REQUIRED: &str = "(required)";

impl Setting {
    /// The key with its section, as in `storage.segment_bytes`.
    #[must_use]
    pub fn key(&self) -> String {
        match self.section {
            "" => self.name.to_owned(),
            section => format!("{section}.{}", self.name),
        }
    }

    /// The environment variable that overrides it; lists of tables are overridden as a whole.
    #[must_use]
    pub fn variable(&self) -> String {
        let key = if self.listed { self.section.to_owned() } else { self.key() };
        format!("LANDFALL_{}", key.replace('.', "_").to_uppercase())
    }

    pub(super) fn read<T: Value>(&self, scope: &Scope) -> Result<T, ConfigError> {
        scope.read(self)
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool => f.write_str("`true` or `false`"),
            Self::Count(min, u64::MAX) => write!(f, "a number from {min}"),
            Self::Count(min, max) => write!(f, "a number from {min} to {max}"),
            Self::Size(min, max) => write!(f, "a size from `{min}` to `{max}`"),
            Self::Duration(min, max) => write!(f, "a duration from `{min}` to `{max}`"),
            Self::Word(words) => write!(f, "`{}`", words.join("`, `")),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Makes a section: the struct, its documentation and the settings it is read by.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        struct $Section:ident in $section:literal, listed: $listed:literal;
        $(
            $(#[doc = $meaning:literal])+
            $name:ident: $type:ty = $default:expr, $allowed:expr;
            low $low:literal; high $high:literal;
        )+
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub struct $Section {
            $(
                $(#[doc = $meaning])+
                #[doc = ""]
                #[doc = concat!("Too low: ", $low, " Too high: ", $high)]
                pub $name: $type,
            )+
        }

        impl $Section {
            /// What the section is for.
            pub(super) const ABOUT: &'static [&'static str] = &[$($about),+];

            /// Its keys, in the order of its documentation.
            pub const SETTINGS: &'static [Setting] = &[$(Setting {
                section: $section,
                name: stringify!($name),
                listed: $listed,
                meaning: &[$($meaning),+],
                default: $default,
                allowed: $allowed,
                too_low: $low,
                too_high: $high,
            }),+];

            /// Reads the section from what was written.
            pub(super) fn read(scope: &Scope) -> Result<Self, ConfigError> {
                let mut settings = Self::SETTINGS.iter();
                $(
                    // One setting was made for each field above, in the same order.
                    let $name = match settings.next() {
                        Some(setting) => setting.read(scope)?,
                        None => unreachable!("a field without its setting"),
                    };
                )+
                Ok(Self { $($name),+ })
            }
        }
    };
}
pub(super) use section;
