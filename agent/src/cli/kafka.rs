//! `landfall kafka`: what a hub needs in Kafka, and how it is repaired.

use std::io::Write;
use std::path::Path;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::config::Config;
use crate::daemon::kafka_behind;
use crate::kafka::{Mapping, Rebuild, Settings, mapping, rebuild, set_mapping};
use crate::quantity::count_text;

pub(super) const HELP: &str = "\
Look after what the hubs of a group have in Kafka

Usage: landfall kafka --data HUB mapping [--set] [--json]
       landfall kafka --data HUB rebuild [TOPIC…] [--json]

mapping  Prints which Kafka topics the group's hubs write, and what this hub's file says. The first
hub that starts decides by its file; others do the same, or refuse if their file says otherwise.
--set makes the file of this hub the group's, and hubs that run go on by it. What was written stays
where it is.

rebuild  For when the frontier topic was lost, without which a hub refuses to go on. Reads these
topics of Kafka and the dead letters, or all topics if none is given; takes from the headers how far
each site is; writes the frontier topic anew; and says what can't be known. Stop all hubs of the
group before. Where the frontier topic is there, nothing is done.

Options:
  --data HUB       The hub's directory; the hub must not run
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --set            mapping: let the group map topics as this hub's file says
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall kafka`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KafkaOptions {
    /// Which hub.
    pub node: DataOptions,
    /// What is to be done.
    pub act: KafkaAct,
    /// Whether machines read what came of it.
    pub json: bool,
}

/// What `landfall kafka` does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KafkaAct {
    /// Rebuild the frontier topic from these topics; none for all.
    Rebuild(Vec<String>),
    /// Tell how the group maps topics.
    Mapping {
        /// Change it first.
        set: bool,
    },
}

impl KafkaOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json, mut set) = (Vec::new(), false, false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--set" => set = true,
                Word::Plain(text) => words.push(text),
                Word::Option(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let act = match words.split_first() {
            Some((verb, topics)) if verb == "rebuild" && !set => KafkaAct::Rebuild(topics.to_vec()),
            Some((verb, [])) if verb == "mapping" => KafkaAct::Mapping { set },
            _ => {
                let text = "say `mapping`, `mapping --set`, or `rebuild` and its topics";
                return Err(arguments.wrong(text).into());
            }
        };
        Ok(Command::Kafka(Self { node: arguments.data()?, act, json }))
    }
}

/// Does what is asked for, and writes to `out` what came of it.
///
/// # Errors
/// Nothing was done: the hub runs, or has no Kafka, or that can't be read, or nothing was lost.
pub async fn run(options: KafkaOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let refused = |why: String| Failure::refused(format!("landfall kafka: {why}"));
    let data = options.node.data.clone();
    let config = Config::load(options.node.config.as_deref(), &data, std::env::vars())?;
    let behind = kafka_behind(&data, &config).map_err(|error| refused(error.to_string()))?;
    let (lock, settings) = behind.ok_or_else(|| {
        Failure::usage("landfall kafka: no brokers are configured; see [kafka] in docs/kafka.md")
    })?;
    let KafkaOptions { act, json, .. } = options;
    let work = tokio::task::spawn_blocking(move || act.run(settings, &data, json));
    let done = work.await.map_err(|error| refused(error.to_string()))?;
    drop(lock);
    print_text(out, &done.map_err(refused)?)
}

impl KafkaAct {
    /// Does it, and returns the text that tells of it, or why it was not done.
    fn run(self, settings: Settings, data: &Path, json: bool) -> Result<String, String> {
        match self {
            Self::Rebuild(topics) => {
                let rebuilt =
                    rebuild(settings, data, &topics).map_err(|error| error.to_string())?;
                Ok(if json { json_line(&rebuilt) } else { rebuilt_text(&rebuilt) })
            }
            Self::Mapping { set } => {
                let told = if set { set_mapping(settings) } else { mapping(&settings) };
                let told = told.map_err(|error| error.to_string())?;
                Ok(if json { json_line(&told) } else { mapping_text(&told) })
            }
        }
    }
}

fn json_line(told: &impl serde::Serialize) -> String {
    serde_json::to_string(told).unwrap_or_default() + "\n"
}

fn mapping_text(mapping: &Mapping) -> String {
    let Mapping { group, file } = mapping;
    let same = group.as_ref() == Some(file);
    let group = group.as_deref().unwrap_or("nothing yet; the first hub that starts decides");
    let hint =
        if same { "" } else { "\n`landfall kafka mapping --set` makes the file the group's.\n" };
    format!("group  {group}\nfile   {file}\n{hint}")
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
