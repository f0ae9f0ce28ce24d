//! Where a record goes: which Kafka topic, which partition of it, and which shard of the hubs
//! brings it there.

use std::collections::BTreeMap;
use std::fmt;

use landfall_core::name::StreamId;

use super::murmur;

/// The longest name that Kafka takes for a topic, in bytes.
const TOPIC_BYTES_MAX: usize = 249;
/// What stands for the record's topic and its origin in a pattern.
const TOPIC: &str = "{topic}";
const SITE: &str = "{site}";

/// How edge topics map to Kafka topics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    pattern: String,
    renamed: BTreeMap<String, String>,
}

/// Why a mapping can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BadRoute {
    /// A name that Kafka does not take, or with letters that it does not take.
    Name(String),
    /// A renaming that is not `topic=kafka-topic`.
    Renaming(String),
    /// A pattern that maps different topics to one.
    Pattern(String),
}

impl Route {
    /// A mapping by a pattern, such as `{topic}` or `{site}.{topic}`, but for topics that are
    /// renamed, each as `topic=pattern`.
    ///
    /// # Errors
    /// It could give names that Kafka does not take, or mixes topics that nobody renamed.
    pub fn new(pattern: &str, renamings: &[String]) -> Result<Self, BadRoute> {
        if !pattern.contains(TOPIC) {
            return Err(BadRoute::Pattern(pattern.into()));
        }
        check(pattern)?;
        let mut renamed = BTreeMap::new();
        for renaming in renamings {
            let bad = || BadRoute::Renaming(renaming.clone());
            let (topic, to) = renaming.split_once('=').ok_or_else(bad)?;
            let (topic, to) = (topic.trim(), to.trim());
            check(to)?;
            if topic.is_empty() || renamed.insert(topic.to_owned(), to.to_owned()).is_some() {
                return Err(bad());
            }
        }
        Ok(Self { pattern: pattern.into(), renamed })
    }

    /// The Kafka topic of a stream's records.
    #[must_use]
    pub fn topic(&self, stream: StreamId<'_>) -> String {
        let pattern = self.renamed.get(stream.topic).unwrap_or(&self.pattern);
        pattern.replace(SITE, stream.origin).replace(TOPIC, stream.topic)
    }
}

/// The partition of a record among those of its Kafka topic: by its key, as any of Kafka's own
/// producers would choose; by its origin if it has none, so that the order of a site holds.
#[must_use]
pub fn partition(stream: StreamId<'_>, key: Option<&[u8]>, partitions: u32) -> u32 {
    murmur::partition(key.unwrap_or(stream.origin.as_bytes()), partitions)
}

/// The shard that a site's records belong to, for ever.
#[must_use]
pub fn shard(origin: &str, shards: u32) -> u32 {
    murmur::partition(origin.as_bytes(), shards)
}

/// Whether what a pattern gives is a name that Kafka takes.
fn check(pattern: &str) -> Result<(), BadRoute> {
    let given = pattern.replace(SITE, "s").replace(TOPIC, "t");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let names = pattern.matches(SITE).count() * landfall_core::limits::SITE_BYTES_MAX
        + pattern.matches(TOPIC).count() * landfall_core::limits::TOPIC_BYTES_MAX;
    let bytes = names + pattern.replace(SITE, "").replace(TOPIC, "").len();
    let dots = ["", ".", ".."].contains(&given.as_str());
    if dots || bytes > TOPIC_BYTES_MAX || !given.bytes().all(allowed) {
        return Err(BadRoute::Name(pattern.into()));
    }
    Ok(())
}

impl fmt::Display for BadRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "`{name}` gives names that Kafka does not take: 1 to {TOPIC_BYTES_MAX} letters, \
                 digits, `.`, `_` and `-`, besides `{TOPIC}` (up to 127) and `{SITE}` (up to 63)"
            ),
            Self::Renaming(text) => {
                write!(f, "`{text}` renames nothing; write `topic=kafka-topic`, once for a topic")
            }
            Self::Pattern(pattern) => {
                write!(f, "`{pattern}` has no `{TOPIC}`, so that all topics would become one")
            }
        }
    }
}

impl std::error::Error for BadRoute {}

#[cfg(test)]
mod tests {
    use landfall_core::num::Partition;

    use super::*;

    fn stream<'a>(origin: &'a str, topic: &'a str) -> StreamId<'a> {
        StreamId { origin, topic, partition: Partition::new(3) }
    }

    #[test]
    fn a_topic_keeps_its_name_unless_a_pattern_or_a_renaming_says_otherwise() {
        let plain = Route::new("{topic}", &[]).unwrap();
        assert_eq!(plain.topic(stream("ship-17", "ais")), "ais");
        let renamings = ["ais=positions".to_owned(), "log = {site}-log".to_owned()];
        let route = Route::new("fleet.{site}.{topic}", &renamings).unwrap();
        assert_eq!(route.topic(stream("ship-17", "engine")), "fleet.ship-17.engine");
        assert_eq!(route.topic(stream("ship-17", "ais")), "positions");
        assert_eq!(route.topic(stream("ship-17", "log")), "ship-17-log");
    }

    #[test]
    fn a_mapping_that_kafka_would_not_take_is_refused() {
        let refused = |pattern: &str, renaming: &str| {
            let renamings: Vec<_> =
                [renaming].iter().filter(|one| !one.is_empty()).map(|one| (*one).into()).collect();
            Route::new(pattern, &renamings).unwrap_err()
        };
        assert!(matches!(refused("all", ""), BadRoute::Pattern(_)));
        assert!(matches!(refused("{topic} of {site}", ""), BadRoute::Name(_)));
        assert!(matches!(refused("{topic}{topic}", ""), BadRoute::Name(_)));
        assert!(matches!(refused("{topic}", "ais"), BadRoute::Renaming(_)));
        assert!(matches!(refused("{topic}", "ais="), BadRoute::Name(_)));
        assert!(matches!(refused("{topic}", "ais=.."), BadRoute::Name(_)));
    }

    #[test]
    fn a_record_without_a_key_goes_by_its_origin_and_an_empty_key_is_a_key() {
        let stream = stream("ship-17", "ais");
        assert_eq!(partition(stream, Some(b"foobar"), 6), 0);
        assert_eq!(partition(stream, None, 6), 2);
        assert_eq!(partition(stream, Some(b""), 6), 3);
        assert_eq!(partition(stream, None, 1), 0);
    }

    #[test]
    fn a_site_belongs_to_one_shard() {
        assert_eq!(shard("ship-17", 6), 2);
        assert_eq!(shard("ship-17", 1), 0);
    }
}
