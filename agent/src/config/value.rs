//! Values as they were written, and what each type makes of them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::setting::Allowed;
use crate::quantity::{ByteSize, parse_duration};

/// The port that is meant where an address names none.
pub(super) const PORT: u16 = 4520;

/// A value as it was written in the file or the environment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Raw {
    /// Text; every value from the environment, and every default, is one.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
    /// A list of text.
    List(Vec<String>),
    /// Something that no setting takes, as it was written.
    Other(String),
}

/// A type that a setting can have. `None` means that the value is not allowed.
pub(super) trait Value: Sized {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self>;
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Other(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::List(items) => write!(f, "[{}]", items.join(", ")),
        }
    }
}

impl Value for bool {
    fn from_raw(raw: &Raw, _: &Allowed) -> Option<Self> {
        match raw {
            Raw::Bool(value) => Some(*value),
            Raw::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl Value for u64 {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        let number = match raw {
            Raw::Number(number) => u64::try_from(*number).ok()?,
            Raw::Text(text) => text.parse().ok()?,
            _ => return None,
        };
        match allowed {
            Allowed::Count(min, max) => (*min..=*max).contains(&number).then_some(number),
            _ => Some(number),
        }
    }
}

impl Value for u32 {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        u64::from_raw(raw, allowed).and_then(|number| number.try_into().ok())
    }
}

impl Value for u8 {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        u64::from_raw(raw, allowed).and_then(|number| number.try_into().ok())
    }
}

impl Value for ByteSize {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        let size = match raw {
            Raw::Number(number) => Self(u64::try_from(*number).ok()?),
            Raw::Text(text) => Self::parse(text)?,
            _ => return None,
        };
        let Allowed::Size(min, max) = allowed else { return Some(size) };
        (Self::parse(min)?..=Self::parse(max)?).contains(&size).then_some(size)
    }
}

impl Value for Duration {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        let duration = parse_duration(text)?;
        let Allowed::Duration(min, max) = allowed else { return Some(duration) };
        (parse_duration(min)?..=parse_duration(max)?).contains(&duration).then_some(duration)
    }
}

impl Value for String {
    fn from_raw(raw: &Raw, _: &Allowed) -> Option<Self> {
        match raw {
            Raw::Text(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        }
    }
}

impl Value for PathBuf {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        String::from_raw(raw, allowed).map(Self::from)
    }
}

impl Value for SocketAddr {
    fn from_raw(raw: &Raw, _: &Allowed) -> Option<Self> {
        let Raw::Text(text) = raw else { return None };
        listen_address(text)
    }
}

/// An IP address with an optional port, such as `[::]:4520` or `0.0.0.0`.
#[must_use]
pub fn listen_address(text: &str) -> Option<SocketAddr> {
    let bare = without_brackets(text);
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse().ok()?, PORT)))
}

/// `none` leaves a setting out where its type allows that.
impl<T: Value> Value for Option<T> {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        match raw {
            Raw::Text(text) if text == "none" => Some(None),
            _ => T::from_raw(raw, allowed).map(Some),
        }
    }
}

/// A list; as text, its items stand between commas.
impl<T: Value> Value for Vec<T> {
    fn from_raw(raw: &Raw, allowed: &Allowed) -> Option<Self> {
        let items = match raw {
            Raw::List(items) => items.clone(),
            Raw::Text(text) => text
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
            _ => return None,
        };
        items.into_iter().map(|item| T::from_raw(&Raw::Text(item), allowed)).collect()
    }
}

/// A host name or IP address and a port, not yet looked up. Port 4520 is meant where none is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Reads `hub.example.org`, `10.0.0.1:4520` or `[2001:db8::1]:4520`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self { host: address.ip().to_string(), port: address.port() });
        }
        if let Ok(address) = without_brackets(text).parse::<std::net::IpAddr>() {
            return Some(Self { host: address.to_string(), port: PORT });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (text, PORT),
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let fits = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_name);
        fits.then(|| Self { host: host.to_owned(), port })
    }
}

fn without_brackets(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Value for HostPort {
    fn from_raw(raw: &Raw, _: &Allowed) -> Option<Self> {
        match raw {
            Raw::Text(text) => Self::parse(text),
            _ => None,
        }
    }
}

/// Makes an enum of words a [`Value`], and its words a constant for the settings.
macro_rules! words {
    ($(#[doc = $about:literal])+ enum $Word:ident {
        $($(#[doc = $doc:literal])+ $Variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $Word { $($(#[doc = $doc])+ $Variant),+ }

        impl $Word {
            pub(super) const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $word),+ }
            }
        }

        impl Value for $Word {
            fn from_raw(raw: &Raw, _: &Allowed) -> Option<Self> {
                match raw {
                    $(Raw::Text(text) if text == $word => Some(Self::$Variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(super) use words;
