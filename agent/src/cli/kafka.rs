//! `landfall kafka`: what a hub needs in Kafka, and how it is repaired.

use std::io::Write;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::config::Config;
use crate::daemon::kafka_behind;
use crate::kafka::{Rebuild, rebuild};
use crate::quantity::count_text;

pub(super) const HELP: &str = "\
Rebuild how far all sites are from the records in Kafka

Usage: landfall kafka --data HUB rebuild [TOPIC…] [--json]

For when the frontier topic was lost, without which a hub refuses to go on. Reads these topics of
Kafka and the dead letters, or all topics if none is given; takes from the headers how far each site
is; writes the frontier topic anew; and says what can't be known. Stop all hubs of the group before.
Where the frontier topic is there, nothing is done.

Options:
  --data HUB       The hub's directory; the hub must not run
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall kafka`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KafkaOptions {
    /// Which hub.
    pub node: DataOptions,
    /// Topics to rebuild from; none for all.
    pub topics: Vec<String>,
    /// Whether machines read what was rebuilt.
    pub json: bool,
}

impl KafkaOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json) = (Vec::new(), false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Plain(text) => words.push(text),
                Word::Option(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let topics = match words.split_first() {
            Some((verb, topics)) if verb == "rebuild" => topics.to_vec(),
            _ => return Err(arguments.wrong("say `rebuild`").into()),
        };
        Ok(Command::Kafka(Self { node: arguments.data()?, topics, json }))
    }
}

/// Rebuilds, and writes to `out` what was rebuilt.
///
/// # Errors
/// Nothing was rebuilt: the hub runs, or has no Kafka, or that can't be read, or nothing was lost.
pub async fn run(options: KafkaOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let refused = |why: String| Failure::refused(format!("landfall kafka: {why}"));
    let data = options.node.data.clone();
    let config = Config::load(options.node.config.as_deref(), &data, std::env::vars())?;
    let behind = kafka_behind(&data, &config).map_err(|error| refused(error.to_string()))?;
    let (lock, settings) = behind.ok_or_else(|| {
        Failure::usage("landfall kafka: no brokers are configured; see [kafka] in docs/kafka.md")
    })?;
    let topics = options.topics;
    let work = tokio::task::spawn_blocking(move || rebuild(settings, &data, &topics));
    let rebuilt = work.await.map_err(|error| refused(error.to_string()))?;
    drop(lock);
    let rebuilt = rebuilt.map_err(|error| refused(error.to_string()))?;
    let text = match options.json {
        true => serde_json::to_string(&rebuilt).unwrap_or_default() + "\n",
        false => rebuilt_text(&rebuilt),
    };
    print_text(out, &text)
}

fn rebuilt_text(rebuilt: &Rebuild) -> String {
    let Rebuild { log, topics, records, copies, foreign, streams } = rebuilt;
    let mut table = Table::new(&["stream", ">next", ">records", ">missing", "hash there"]);
    for stream in streams {
        for (at, (next, hash)) in stream.next.iter().enumerate() {
            let once = |count: u64| if at == 0 { count_text(count) } else { String::new() };
            let name = if at == 0 { stream.stream.clone() } else { "  another branch".into() };
            let (records, missing) = (once(stream.records), once(stream.missing));
            table.row([name, count_text(*next), records, missing, hash.clone()]);
        }
    }
    let mut text = table.text();
    text.push_str(&format!(
        "\nRebuilt as log {log} from {} records in {topics} topics.\n",
        count_text(*records)
    ));
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("{}: {what}\n", count_text(count)));
        }
    };
    say(*foreign, "records of others, which were passed over");
    say(*copies, "records in topics that the hub would not write them to, which were passed over");
    let missing = streams.iter().map(|stream| stream.missing).sum();
    say(missing, "offsets without a record: expired, compacted, or stated gaps; taken for had");
    let branched = streams.iter().filter(|stream| stream.next.len() > 1).count();
    say(branched as u64, "streams with several branches; which of them was first is a guess");
    let twice = streams.iter().map(|stream| stream.twice).sum();
    say(twice, "records whose coordinates were there before: Kafka has them twice");
    text.push_str(UNKNOWN);
    text
}

/// What no record tells.
const UNKNOWN: &str = "
What no record tells: streams of which none is left, and the end of a stream whose last records
expired or were deleted; sites bring those again, as far as they still keep them. And what the hubs
had promised: they say at first that the centre lost promises, and ask all sites for what they keep.
";
