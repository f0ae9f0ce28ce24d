//! What a registered site may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a hub lets a site do. Absent fields in a stored record mean "nothing".
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Rights {
    /// Topics it may write, as itself and as every origin it may carry.
    pub write: Vec<TopicPattern>,
    /// Topics it may subscribe to; `{site}` stands for its name.
    pub subscribe: Vec<TopicPattern>,
    /// Origins other than itself whose records it may send.
    pub carry: Vec<SitePattern>,
    /// Whether it may mirror this node's lanes.
    pub mirror: bool,
    /// Bytes it may send per day; `None` is no limit.
    pub bytes_per_day: Option<u64>,
}

impl Rights {
    /// What a plain token gives: write any non-internal topic as itself, carry nobody.
    #[must_use]
    pub fn plain() -> Self {
        Self { write: vec![TopicPattern::any()], ..Self::default() }
    }

    /// What a hub gives another one that shares its registry: write any non-internal topic of
    /// whatever origin.
    #[must_use]
    pub fn forwards() -> Self {
        Self { carry: vec![SitePattern::any()], ..Self::plain() }
    }

    /// Whether `site`, which has these rights, may send a record of `origin` in `topic`.
    #[must_use]
    pub fn may_write(&self, site: &str, origin: &str, topic: &str) -> bool {
        (origin == site || self.may_carry(origin))
            && self.write.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether records first written by `origin` may be sent on its behalf.
    #[must_use]
    pub fn may_carry(&self, origin: &str) -> bool {
        self.carry.iter().any(|pattern| pattern.matches(origin))
    }

    /// Whether `site`, which has these rights, may have a copy of the topic.
    #[must_use]
    pub fn may_subscribe(&self, site: &str, topic: &str) -> bool {
        self.subscribe.iter().any(|pattern| pattern.of_site(site).matches(topic))
    }
}

/// A topic name, or its beginning followed by `*`. Internal topics (`_…`) match only a pattern that
/// begins with `_`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TopicPattern(Pattern);

impl TopicPattern {
    /// `*`: every non-internal topic.
    #[must_use]
    pub fn any() -> Self {
        Self(Pattern::Beginning(String::new()))
    }

    /// The pattern for one site, whose name stands in place of `{site}`.
    fn of_site(&self, site: &str) -> Self {
        let of = |text: &str| text.replace("{site}", site);
        Self(match &self.0 {
            Pattern::Whole(text) => Pattern::Whole(of(text)),
            Pattern::Beginning(text) => Pattern::Beginning(of(text)),
        })
    }

    /// Whether the topic is meant.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        is_internal(topic) == is_internal(self.0.text()) && self.0.matches(topic)
    }
}

/// Whether the topic belongs to the node itself.
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with('_')
}

impl FromStr for TopicPattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        text.parse().map(Self)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A site's name, or its beginning followed by `*`, such as `ship-*`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SitePattern(Pattern);

impl SitePattern {
    /// `*`: every site.
    #[must_use]
    pub fn any() -> Self {
        Self(Pattern::Beginning(String::new()))
    }

    /// Whether the site is meant.
    #[must_use]
    pub fn matches(&self, site: &str) -> bool {
        self.0.matches(site)
    }

    /// The one site that is meant, unless the pattern leaves it open.
    #[must_use]
    pub fn site(&self) -> Option<&str> {
        match &self.0 {
            Pattern::Whole(site) => Some(site),
            Pattern::Beginning(_) => None,
        }
    }
}

impl FromStr for SitePattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        text.parse().map(Self)
    }
}

impl fmt::Display for SitePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The longest pattern, in bytes.
const PATTERN_LENGTH_MAX: usize = 255;

/// The text is not a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternFault {
    /// Nothing is there.
    #[error("the pattern is empty: give a name, or its beginning followed by `*`")]
    Empty,
    /// A star stands before the end.
    #[error("`*` may stand only at the end of a pattern")]
    StarInside,
    /// More than 255 bytes.
    #[error("the pattern is longer than 255 bytes")]
    TooLong,
    /// A control character or white space.
    #[error("the pattern holds white space or a control character")]
    Unprintable,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Pattern {
    Whole(String),
    Beginning(String),
}

impl Pattern {
    fn text(&self) -> &str {
        match self {
            Self::Whole(text) | Self::Beginning(text) => text,
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Whole(whole) => name == whole,
            Self::Beginning(beginning) => !name.is_empty() && name.starts_with(beginning.as_str()),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternFault;

    fn from_str(text: &str) -> Result<Self, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        if text.len() > PATTERN_LENGTH_MAX {
            return Err(PatternFault::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(PatternFault::Unprintable);
        }
        let (name, open) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        if name.contains('*') {
            return Err(PatternFault::StarInside);
        }
        Ok(if open { Self::Beginning(name.into()) } else { Self::Whole(name.into()) })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(name) => f.write_str(name),
            Self::Beginning(name) => write!(f, "{name}*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_site_writes_as_itself_and_only_what_is_not_internal() {
        let rights = Rights::plain();
        assert!(rights.may_write("ship-17", "ship-17", "ais"));
        assert!(!rights.may_write("ship-17", "ship-18", "ais"), "carries nobody");
        assert!(!rights.may_write("ship-17", "ship-17", "_sites"));
        assert!(!rights.may_subscribe("ship-17", "ais"));
        assert!(!rights.mirror);
    }

    #[test]
    fn one_token_for_a_fleet_lets_each_site_have_its_own_commands() {
        let subscribe = ["commands.{site}", "charts*"].map(|text| text.parse().unwrap()).to_vec();
        let rights = Rights { subscribe, ..Rights::default() };
        assert!(rights.may_subscribe("ship-17", "commands.ship-17"));
        assert!(!rights.may_subscribe("ship-17", "commands.ship-18"));
        assert!(!rights.may_subscribe("ship-17", "commands.ship-170"));
        assert!(!rights.may_subscribe("ship-17", "commands.{site}"));
        assert!(rights.may_subscribe("ship-17", "charts.north"));
        assert!(!rights.may_subscribe("ship-17", "_sites"));
    }

    #[test]
    fn a_gateway_carries_whom_it_may_and_writes_what_it_may() {
        let rights = Rights {
            write: vec!["ais".parse().unwrap(), "engine-*".parse().unwrap()],
            carry: vec!["buoy-*".parse().unwrap()],
            ..Rights::default()
        };
        assert!(rights.may_write("gate", "buoy-1", "ais"));
        assert!(rights.may_write("gate", "gate", "engine-oil"));
        assert!(!rights.may_write("gate", "buoy-1", "ais2"));
        assert!(!rights.may_write("gate", "ship-1", "ais"));
    }

    #[test]
    fn internal_topics_need_a_pattern_that_names_them() {
        let all: TopicPattern = "*".parse().unwrap();
        let internal: TopicPattern = "_c*".parse().unwrap();
        assert!(!all.matches("_cursors"));
        assert!(internal.matches("_cursors"));
        assert!(!internal.matches("_sites"));
    }

    #[test]
    fn patterns_say_what_is_wrong_with_them() {
        let fault = |text: &str| text.parse::<SitePattern>().unwrap_err();
        assert_eq!(fault(""), PatternFault::Empty);
        assert_eq!(fault("a*b"), PatternFault::StarInside);
        assert_eq!(fault("**"), PatternFault::StarInside);
        assert_eq!(fault("a b"), PatternFault::Unprintable);
        assert_eq!(fault(&"x".repeat(256)), PatternFault::TooLong);
        assert_eq!("ship-17".parse::<SitePattern>().unwrap().site(), Some("ship-17"));
        assert_eq!("ship-*".parse::<SitePattern>().unwrap().site(), None);
    }

    #[test]
    fn json_is_plain_text_and_what_is_absent_is_not_allowed() {
        let json = serde_json::to_string(&Rights::plain()).unwrap();
        assert!(json.contains(r#""write":["*"]"#), "{json}");
        assert_eq!(serde_json::from_str::<Rights>(&json).unwrap(), Rights::plain());
        assert_eq!(serde_json::from_str::<Rights>("{}").unwrap(), Rights::default());
    }
}
