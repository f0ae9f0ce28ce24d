//! The section `[kafka]`: a Kafka cluster behind this hub.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::error::ConfigError;
use super::file::Scope;
use super::setting::{Allowed, Setting, section};

/// Whether this program speaks TLS and SCRAM to Kafka.
pub const KAFKA_TLS: bool = cfg!(feature = "kafka_tls");

section! {
    /// A Kafka cluster behind this hub, into which it commits what it receives; see
    /// [kafka.md](kafka.md). All hubs of a group have the same settings here.
    struct Kafka in "kafka", listed: false;

    /// Brokers of the cluster to begin with. Empty: there is no Kafka behind this node.
    brokers: Vec<String> = "", Allowed::Text("a list of `host:port`");
    low "one broker is one way to be cut off at the start.";
    high "none: all others are learned from the first that answers.";

    /// What the hubs that share the work are called. It begins their transactional ids, and holds
    /// for ever.
    group: String = "landfall",
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 63");
    low "two groups of one name fence each other.";
    high "a new name begins anew: it asks the sites for all that they still keep.";

    /// How many shards the sites are spread over, for ever. A shard has a transaction of its own.
    shards: u32 = "4", Allowed::Count(1, 1024);
    low "fewer transactions go on at a time.";
    high "each costs a hub two threads and a connection to each broker.";

    /// The compacted topic that says how far all sites are; it is made if it is missing.
    frontier_topic: String = "_landfall_frontiers",
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 249");
    low "a topic that others write, too, stops the hub.";
    high "a new name begins anew, as a new `group` does.";

    /// The topic of dead letters: what Kafka refuses of records is told there. It is made if it is
    /// missing.
    dead_letter_topic: String = "_landfall_dead_letters",
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 249");
    low "a topic that others write, too, is hard to read.";
    high "one that an edge topic maps to takes none of its records.";

    /// The compacted topic of registered sites and tokens, which all hubs of the group share. It is
    /// made, with one partition, if it is missing.
    registry_topic: String = "_landfall_registry",
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 249");
    low "whoever may write it lets sites in.";
    high "a new name begins with the sites that this hub knows.";

    /// The Kafka topic of an edge topic: `{topic}` and `{site}` stand for the names of the topic
    /// and of the record's origin. All records of a topic go to one partition if `:` and its number
    /// follow, counted from 0; otherwise each goes by its key.
    topic: String = "{topic}", Allowed::Text("a name that contains `{topic}`");
    low "with `{topic}` alone all sites share a topic.";
    high "with `{site}` each site has topics of its own, of which Kafka does not bear many.";

    /// Topics with another mapping, each as `topic=kafka-topic` or `topic=kafka-topic:partition`,
    /// where the same words stand for the same.
    rename: Vec<String> = "",
        Allowed::Text("a list of `topic=kafka-topic` or `topic=kafka-topic:partition`");
    low "edge names need not be those of the centre.";
    high "topics that are mapped to one name are mixed.";

    /// Whether a topic that is missing in Kafka is made.
    create_topics: bool = "true", Allowed::Bool;
    low "`false`: what a new edge topic brings waits until somebody has made its Kafka topic.";
    high "`true`: a misspelt name at the edge makes a topic at the centre.";

    /// Partitions of a topic that is made.
    partitions: u32 = "6", Allowed::Count(1, 10_000);
    low "its readers cannot share the work.";
    high "each transaction touches more of them, and each costs it a little.";

    /// Replicas of a topic that is made. `none`: what the brokers' default says.
    replication: Option<u32> = "none", Allowed::Count(1, 15);
    low "1: the loss of one broker loses records that were promised.";
    high "more than there are brokers: no topic can be made.";

    /// How long records are collected before they are committed to Kafka together.
    commit_every: Duration = "100ms", Allowed::Duration("10ms", "10s");
    low "small transactions, which cost the brokers as much as large ones.";
    high "records are durable, and forgotten at the edge, later.";

    /// How long a transaction may take before Kafka aborts it. Readers wait for an open one.
    transaction_timeout: Duration = "15s", Allowed::Duration("1s", "15m");
    low "brokers that are slow for a moment make the hub begin anew.";
    high "readers of the topics wait for as long when a hub dies.";

    /// Properties of librdkafka, each as `name=value`, such as `security.protocol=sasl_ssl`.
    properties: Vec<String> = "", Allowed::Text("a list of `name=value`");
    low "without them the connection is neither encrypted nor authenticated.";
    high "what the hub must decide itself, such as `acks`, is refused.";

    /// File with the password for `sasl.password`. `none`: there is none.
    password_file: Option<PathBuf> = "none", Allowed::Text("a path");
    low "in `properties` everybody who reads this file knows it.";
    high "whoever reads the file can write as this hub.";
}

/// What decides whether a record is written once; nobody else may set it.
const OWN_PROPERTIES: [&str; 9] = [
    "acks",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "transaction.timeout.ms",
    "transactional.id",
];

impl Kafka {
    /// Whether there is a Kafka behind this node.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// The properties for librdkafka, by name and value. Those without a value were refused.
    pub fn librdkafka(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().filter_map(|property| {
            property.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
        })
    }
}

/// What no setting can be checked for alone.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let kafka = &config.kafka;
    for property in &kafka.properties {
        let name = property.split_once('=').map(|(name, _)| name.trim());
        let Some(name) = name else {
            let why = format!("`{property}` is no `name=value`");
            return Err(ConfigError::conflict("kafka.properties", why));
        };
        if OWN_PROPERTIES.contains(&name) {
            let why = format!("`{name}` is for the hub to decide; remove it");
            return Err(ConfigError::conflict("kafka.properties", why));
        }
    }
    let names = [
        ("kafka.group", &kafka.group),
        ("kafka.frontier_topic", &kafka.frontier_topic),
        ("kafka.dead_letter_topic", &kafka.dead_letter_topic),
        ("kafka.registry_topic", &kafka.registry_topic),
    ];
    for (key, name) in names {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let most = if key == "kafka.group" { 63 } else { 249 };
        if !name.bytes().all(allowed) || name.len() > most || name.starts_with('.') {
            let why = format!(
                "`{name}` cannot be a name; use at most {most} letters, digits, `.`, `_` and `-`"
            );
            return Err(ConfigError::conflict(key, why));
        }
    }
    check_route(kafka)?;
    check_tls(kafka, KAFKA_TLS)?;
    if !kafka.is_there() {
        return Ok(());
    }
    if !cfg!(feature = "kafka") {
        let why = "this program was built without Kafka, as for devices; build it with the \
                   feature `kafka`, or remove `kafka.brokers`";
        return Err(ConfigError::conflict("kafka.brokers", why));
    }
    if !config.upstream.addresses.is_empty() {
        let why = "a node brings its records to one place: remove `upstream.addresses` or this";
        return Err(ConfigError::conflict("kafka.brokers", why));
    }
    Ok(())
}

/// What needs OpenSSL is refused in a program without it, which else would try for ever.
fn check_tls(kafka: &Kafka, has_tls: bool) -> Result<(), ConfigError> {
    let needs = |(name, value): (&str, &str)| {
        let value = value.to_ascii_lowercase();
        match name {
            "security.protocol" => value.ends_with("ssl"),
            "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram-"),
            _ => name.starts_with("ssl."),
        }
    };
    match kafka.librdkafka().find(|property| needs(*property)) {
        Some((name, _)) if !has_tls => {
            let why = format!(
                "this program was built without TLS and SCRAM to Kafka, so it does not know \
                 `{name}`; build it with the feature `kafka_tls`"
            );
            Err(ConfigError::conflict("kafka.properties", why))
        }
        _ => Ok(()),
    }
}

#[cfg(feature = "kafka")]
fn check_route(kafka: &Kafka) -> Result<(), ConfigError> {
    use crate::kafka::route::{BadRoute, Route};

    Route::new(&kafka.topic, &kafka.rename).map(|_| ()).map_err(|bad| {
        let renames = kafka.rename.iter().any(|rename| {
            matches!(&bad, BadRoute::Name(bad) | BadRoute::Partition(bad)
                if rename.contains(bad.as_str()))
        });
        let renames = renames || matches!(bad, BadRoute::Renaming(_));
        let key = if renames { "kafka.rename" } else { "kafka.topic" };
        ConfigError::conflict(key, bad.to_string())
    })
}

#[cfg(not(feature = "kafka"))]
fn check_route(_: &Kafka) -> Result<(), ConfigError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{KAFKA_TLS, check_tls};
    use crate::config::{Config, ConfigFile};

    fn config(text: &str) -> Result<Config, String> {
        let file = ConfigFile::parse(text, Path::new("landfall.toml"));
        let config = file.and_then(|file| Config::from_file(&file));
        config.map_err(|error| error.to_string())
    }

    #[test]
    fn without_brokers_there_is_no_kafka() {
        assert!(!config("").unwrap().kafka.is_there());
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn properties_go_to_librdkafka_by_name_and_value() {
        let text = "[kafka]\nbrokers = [\"k:9092\"]\n\
                    properties = [\"security.protocol = sasl_plaintext\", \"client.rack=/a=b\"]\n";
        let kafka = config(text).unwrap().kafka;
        let told: Vec<_> = kafka.librdkafka().collect();
        assert_eq!(told, [("security.protocol", "sasl_plaintext"), ("client.rack", "/a=b")]);
    }

    #[test]
    fn a_program_without_tls_says_so_and_one_with_it_takes_what_is_for_it() {
        let ssl = ["security.protocol=SASL_SSL", "sasl.mechanisms=SCRAM-SHA-256", "ssl.ca.pem=x"];
        for property in ssl {
            let told = config(&format!("[kafka]\nproperties = [\"{property}\"]\n"));
            assert_eq!(told.is_ok(), KAFKA_TLS, "{property}");
            let mut kafka = config("").unwrap().kafka;
            kafka.properties = vec![property.to_owned()];
            check_tls(&kafka, true).unwrap();
            let error = check_tls(&kafka, false).unwrap_err().to_string();
            assert!(error.contains("kafka.properties") && error.contains("kafka_tls"), "{error}");
        }
    }

    #[test]
    fn what_would_break_the_promise_is_refused_and_says_where() {
        let refused = [
            ("properties = [\"acks=1\"]", "kafka.properties"),
            ("properties = [\"acks\"]", "kafka.properties"),
            ("group = \"a b\"", "kafka.group"),
            ("frontier_topic = \"a/b\"", "kafka.frontier_topic"),
            ("dead_letter_topic = \"a/b\"", "kafka.dead_letter_topic"),
        ];
        for (line, key) in refused {
            let error = config(&format!("[kafka]\n{line}\n")).unwrap_err();
            assert!(error.contains(key), "{line}: {error}");
        }
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn a_mapping_that_kafka_would_not_take_is_refused_by_its_key() {
        let pattern = config("[kafka]\ntopic = \"all\"\n").unwrap_err();
        assert!(pattern.contains("kafka.topic"), "{pattern}");
        let rename = config("[kafka]\nrename = [\"ais=a b\"]\n").unwrap_err();
        assert!(rename.contains("kafka.rename"), "{rename}");
        let partition = config("[kafka]\nrename = [\"ais=positions:last\"]\n").unwrap_err();
        assert!(partition.contains("kafka.rename"), "{partition}");
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn a_hub_has_kafka_or_another_node_above_it() {
        let text = "[kafka]\nbrokers = [\"k:9092\"]\n[upstream]\naddresses = [\"hub\"]\n";
        let error = config(text).unwrap_err();
        assert!(error.contains("upstream.addresses"), "{error}");
    }

    #[cfg(not(feature = "kafka"))]
    #[test]
    fn a_program_without_kafka_says_so() {
        let error = config("[kafka]\nbrokers = [\"k:9092\"]\n").unwrap_err();
        assert!(error.contains("built without Kafka"), "{error}");
    }
}
