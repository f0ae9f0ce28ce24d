//! The part of a request behind the question mark, percent-decoded and checked for unknown names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::bad;
use crate::api::error::ApiError;
use crate::api::limits::PARAMETER_BYTES_MAX;
use crate::nearest::nearest;

/// Parameters by name; each is taken once.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads a query; names that are not `known` are refused.
    pub(super) fn of(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut found = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let error = bad(format!("unknown parameter `{name}`"));
                return Err(match nearest(name, known.iter().copied()) {
                    Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
                    None => error.with_hint(format!("known are `{}`", known.join("`, `"))),
                });
            }
            if value.len() > PARAMETER_BYTES_MAX {
                return Err(bad(format!("`{name}` is longer than {PARAMETER_BYTES_MAX} bytes")));
            }
            let value = decoded(&value.replace('+', " "))?.into_owned();
            if found.insert(name.to_owned(), value).is_some() {
                return Err(bad(format!("`{name}` is there twice")));
            }
        }
        Ok(Self(found))
    }

    /// Text; empty is as if it were not there.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// `true`, `1` or nothing behind the name is yes.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.0.remove(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(bad(format!("`{name}` must be true or false, not `{other}`"))),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().map_err(|_| bad(format!("`{name}` is no number: `{text}`")))?;
        Ok(Some(number))
    }

    pub(super) fn partition(&mut self) -> Result<Option<u32>, ApiError> {
        let Some(number) = self.number("partition")? else { return Ok(None) };
        let partition = u32::try_from(number);
        partition.map(Some).map_err(|_| bad(format!("there is no partition {number}")))
    }
}

/// Text with `%41` for `A`.
pub(super) fn decoded(text: &str) -> Result<Cow<'_, str>, ApiError> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let wrong = || bad(format!("`{text}` is not percent-encoded UTF-8"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| !digits.starts_with('+')).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| wrong())
}
