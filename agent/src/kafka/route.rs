//! Where a record goes: which Kafka topic, which partition of it, and which shard of the hubs
//! brings it there.

use std::collections::BTreeMap;
use std::fmt;

use landfall_core::name::StreamId;

use super::murmur;

/// The longest name that Kafka takes for a topic, in bytes.
const TOPIC_BYTES_MAX: usize = 249;
/// The highest number that Kafka gives a partition.
const PARTITION_MAX: u32 = i32::MAX as u32 - 1;
/// Topics that may be renamed; so many are told in one record.
const RENAMED_MAX: usize = 1_000;
/// What stands for the record's topic and its origin in a pattern.
const TOPIC: &str = "{topic}";
const SITE: &str = "{site}";

/// How edge topics map to Kafka topics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    usual: Place,
    renamed: BTreeMap<String, Place>,
}

/// Where the records of a topic go, as it was written: `kafka-topic` or `kafka-topic:partition`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    pattern: String,
    partition: Option<u32>,
}

/// Among which partitions of its Kafka topic a record's is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Among {
    /// These many.
    All(u32),
    /// All records of the topic go to this one.
    One(u32),
}

/// Why a mapping can't be used.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum BadRoute {
    /// A name that Kafka does not take, or with letters that it does not take.
    Name(String),
    /// A renaming that is not `topic=kafka-topic`.
    Renaming(String),
    /// More topics are renamed than hubs tell each other.
    Many,
    /// What stands behind a colon is no number of a partition.
    Partition(String),
    /// A pattern that maps different topics to one.
    Pattern(String),
}

impl Route {
    /// A mapping by a pattern, such as `{topic}` or `{site}.{topic}`, but for topics that are
    /// renamed, each as `topic=pattern`. A pattern may end in `:` and the number of the partition
    /// that all records of its topics go to.
    ///
    /// # Errors
    /// It could give names that Kafka does not take, or mixes topics that nobody renamed.
    pub fn new(pattern: &str, renamings: &[String]) -> Result<Self, BadRoute> {
        if !pattern.contains(TOPIC) {
            return Err(BadRoute::Pattern(pattern.into()));
        }
        let usual = Place::parse(pattern)?;
        let mut renamed = BTreeMap::new();
        for renaming in renamings {
            let bad = || BadRoute::Renaming(renaming.clone());
            let (topic, to) = renaming.split_once('=').ok_or_else(bad)?;
            let (topic, to) = (topic.trim(), Place::parse(to.trim())?);
            if renamed.len() >= RENAMED_MAX {
                return Err(BadRoute::Many);
            }
            if topic.is_empty()
                || topic.contains(' ')
                || renamed.insert(topic.to_owned(), to).is_some()
            {
                return Err(bad());
            }
        }
        Ok(Self { usual, renamed })
    }

    /// The mapping as a line of text: first the pattern, and then the renamings by name.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.usual.to_string();
        for (topic, place) in &self.renamed {
            text.push_str(&format!(" {topic}={place}"));
        }
        text
    }

    /// The mapping that a line of text says.
    ///
    /// # Errors
    /// See [`Route::new`].
    pub fn from_text(text: &str) -> Result<Self, BadRoute> {
        let mut words = text.split(' ');
        let pattern = words.next().unwrap_or_default();
        let renamings: Vec<_> = words.map(str::to_owned).collect();
        Self::new(pattern, &renamings)
    }

    /// Whether each topic keeps its name, which is what is not said otherwise.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        self.usual.pattern == TOPIC && self.usual.partition.is_none() && self.renamed.is_empty()
    }

    /// The Kafka topic of a stream's records.
    #[must_use]
    pub fn topic(&self, stream: StreamId<'_>) -> String {
        let pattern = &self.place(stream.topic).pattern;
        pattern.replace(SITE, stream.origin).replace(TOPIC, stream.topic)
    }

    /// The partitions that the records of an edge topic may go to, if its Kafka topic has so many.
    ///
    /// # Errors
    /// All go to one that is not there, for this reason.
    pub fn among(&self, topic: &str, partitions: u32) -> Result<Among, String> {
        match self.place(topic).partition {
            None => Ok(Among::All(partitions)),
            Some(one) if one < partitions => Ok(Among::One(one)),
            Some(one) => Err(format!(
                "it has {partitions} partitions, counted from 0, and the mapping of {topic} says \
                 partition {one}; give it more and start the hub again, or mend the mapping"
            )),
        }
    }

    fn place(&self, topic: &str) -> &Place {
        self.renamed.get(topic).unwrap_or(&self.usual)
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, BadRoute> {
        let (pattern, partition) = match text.rsplit_once(':') {
            None => (text, None),
            Some((pattern, number)) => {
                let parsed = number.parse().ok().filter(|number| *number <= PARTITION_MAX);
                (pattern, Some(parsed.ok_or_else(|| BadRoute::Partition(text.into()))?))
            }
        };
        check(pattern)?;
        Ok(Self { pattern: pattern.into(), partition })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)?;
        self.partition.map_or(Ok(()), |partition| write!(f, ":{partition}"))
    }
}

impl Among {
    /// The partition of a record: by its key, as any of Kafka's own producers would choose; by its
    /// origin if it has none, so that the order of a site holds.
    #[must_use]
    pub fn partition(self, stream: StreamId<'_>, key: Option<&[u8]>) -> u32 {
        match self {
            Self::One(partition) => partition,
            Self::All(count) => murmur::partition(key.unwrap_or(stream.origin.as_bytes()), count),
        }
    }
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
            Self::Many => write!(f, "more than {RENAMED_MAX} topics are renamed; use a pattern"),
            Self::Partition(text) => write!(
                f,
                "`{text}` ends in no partition; write `kafka-topic:0`, or `kafka-topic` alone for \
                 one by the key"
            ),
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
        for partition in ["", "-1", "first", "2147483647", "1:2"] {
            let refused = refused("{topic}", &format!("ais=positions:{partition}"));
            assert!(matches!(refused, BadRoute::Partition(_) | BadRoute::Name(_)), "{partition}");
        }
        assert!(matches!(refused("{topic}", "ais=:3"), BadRoute::Name(_)));
    }

    #[test]
    fn a_mapping_is_told_as_text_and_understood() {
        let renamings = ["log={site}-log:4".to_owned(), "ais=positions".to_owned()];
        let route = Route::new("fleet.{topic}", &renamings).unwrap();
        assert_eq!(route.text(), "fleet.{topic} ais=positions log={site}-log:4");
        assert_eq!(Route::from_text(&route.text()), Ok(route.clone()));
        assert!(!route.is_usual() && Route::from_text("{topic}").unwrap().is_usual());
        for text in ["", "all", "{topic} ais", "{topic}  ais=a", "{topic} ais=a ais=b"] {
            assert!(Route::from_text(text).is_err(), "{text}");
        }
        let many: Vec<_> = (0..=RENAMED_MAX).map(|number| format!("t{number}=t")).collect();
        assert_eq!(Route::new("{topic}", &many), Err(BadRoute::Many));
    }

    #[test]
    fn a_topic_may_go_to_one_partition_that_is_there() {
        let route = Route::new("{topic}", &["ais=positions:2".to_owned()]).unwrap();
        assert_eq!(route.topic(stream("ship-17", "ais")), "positions");
        assert_eq!(route.among("ais", 3), Ok(Among::One(2)));
        assert_eq!(route.among("log", 3), Ok(Among::All(3)));
        let why = route.among("ais", 2).unwrap_err();
        assert!(why.contains("2 partitions") && why.contains("partition 2"), "{why}");
        assert_eq!(Among::One(2).partition(stream("ship-17", "ais"), Some(b"foobar")), 2);
    }

    #[test]
    fn a_record_without_a_key_goes_by_its_origin_and_an_empty_key_is_a_key() {
        let stream = stream("ship-17", "ais");
        let among = Among::All(6);
        assert_eq!(among.partition(stream, Some(b"foobar")), 0);
        assert_eq!(among.partition(stream, None), 2);
        assert_eq!(among.partition(stream, Some(b"")), 3);
        assert_eq!(Among::All(1).partition(stream, None), 0);
    }

    #[test]
    fn a_site_belongs_to_one_shard() {
        assert_eq!(shard("ship-17", 6), 2);
        assert_eq!(shard("ship-17", 1), 0);
    }
}
