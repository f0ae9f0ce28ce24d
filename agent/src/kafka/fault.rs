//! Why the bridge must begin anew.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::Trouble;
use super::restored::Unusable;
use super::settings::NoPassword;

/// Why the bridge must begin anew. What was under way is in doubt until the frontier is read.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(super) enum Fault {
    /// Another hub of the group has taken over this shard.
    Fenced(u32),
    /// Kafka refused what was written to a topic, and would again.
    Refused {
        /// The topic.
        topic: String,
        /// Why.
        why: String,
    },
    /// Kafka refused records for what they are.
    Record(String),
    /// The hub is not, and will not be, in the group of hubs.
    Group(String),
    /// The group assigns other shards to this hub now.
    Moved,
    /// The hubs of the group map topics in another way than this one assumed.
    Mapped,
    /// This hub is told to map topics in another way than its group does.
    Mapping {
        /// What its file says.
        own: String,
        /// What the group does.
        group: String,
    },
    /// The frontier topic can't be gone on from; a person must decide.
    Frontier(String),
    /// Kafka does not let the hub in, or do something that it needs; or the hub does not trust who
    /// answers. It goes on by itself once that is changed.
    Denied(String),
    /// Kafka can't be reached, or does not answer, or something went wrong there.
    Kafka(String),
    /// The hub itself broke a rule of its own.
    Broken(&'static str),
}

impl Fault {
    /// What librdkafka says went wrong with a shard, while it did something.
    pub(super) fn of(shard: u32, doing: &str, error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::InvalidProducerEpoch) => {
                Self::Fenced(shard)
            }
            code => {
                let told = format!("{doing} failed: {}", text(error));
                match code.and_then(remedy) {
                    Some(remedy) => Self::Denied(format!("{told}; {remedy}")),
                    None => Self::Kafka(told),
                }
            }
        }
    }

    /// The same, with what went wrong with the connections meanwhile.
    pub(super) fn amid(self, trouble: Option<Trouble>) -> Self {
        let (Self::Kafka(told), Some(Trouble { code, reason })) = (&self, trouble) else {
            return self;
        };
        match code.and_then(remedy) {
            Some(remedy) => Self::Denied(format!("{told}; {reason}; {remedy}")),
            None => Self::Kafka(format!("{told}; {reason}")),
        }
    }

    /// Whether only a person can change it, so that trying again soon is of no use.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Frontier(_) | Self::Group(_) | Self::Mapping { .. })
    }
}

/// What a person can do about it, if Kafka denies something.
fn remedy(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::Authentication
        | RDKafkaErrorCode::IllegalSASLState
        | RDKafkaErrorCode::SaslAuthenticationFailed
        | RDKafkaErrorCode::UnsupportedSASLMechanism => {
            "Kafka does not let this hub in: look at `kafka.password_file`, which is read again \
             for each try, and at what `kafka.properties` says of sasl"
        }
        RDKafkaErrorCode::SSL => {
            "this hub does not trust who answers: look at `ssl.ca.location` in `kafka.properties`, \
             and whether the brokers' certificates name the addresses of `kafka.brokers`"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "this hub needs the right IdempotentWrite on the cluster"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "this hub needs the right Read on the groups whose names begin with `kafka.group` and \
             a dot"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "this hub needs the rights Read, Write and Describe on the topics of `kafka.\
             frontier_topic` and `kafka.registry_topic`"
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "this hub needs the rights Write and Describe on the transactional ids that begin with \
             `kafka.group` and a dot"
        }
        _ => return None,
    })
}

/// An error of librdkafka in its own words, without the names of its wrapper.
pub(super) fn text(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(error) => error.string(),
        _ => error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()),
    }
}

impl From<NoPassword> for Fault {
    fn from(missing: NoPassword) -> Self {
        Self::Denied(missing.to_string())
    }
}

impl From<Unusable> for Fault {
    fn from(unusable: Unusable) -> Self {
        Self::Frontier(unusable.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(shard) => write!(
                f,
                "another hub of the group has taken over shard {shard} before this one gave it back"
            ),
            Self::Refused { topic, why } => {
                write!(f, "Kafka does not take what is for its topic {topic}: {why}")
            }
            Self::Record(why) => write!(f, "Kafka does not take a record: {why}"),
            Self::Group(why) => write!(f, "this hub can't own shards: {why}"),
            Self::Mapped => f.write_str("the group of hubs maps topics as it says, from now on"),
            Self::Mapping { own, group } => write!(
                f,
                "this hub's file maps topics as `{own}`, and its group as `{group}`; remove \
                 `kafka.topic` and `kafka.rename` from the file, or change the group's by \
                 `landfall kafka mapping --set`"
            ),
            Self::Moved => f.write_str("the group of hubs assigns other shards to this one now"),
            Self::Frontier(why) => write!(f, "the frontier topic can't be used: {why}"),
            Self::Denied(why) | Self::Kafka(why) => f.write_str(why),
            Self::Broken(what) => write!(f, "the hub broke a rule of its own: {what}"),
        }
    }
}

impl std::error::Error for Fault {}
