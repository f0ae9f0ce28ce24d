//! `landfall read`: records of a topic to standard output.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::append::Query;
use super::arguments::{Arguments, Stop, Word};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::Client;
use crate::coordinates::{Position, check_site, check_topic};

pub(super) const HELP: &str = "\
Read a topic, one JSON object a record

Usage: landfall read --data DIR TOPIC [OPTION…]

Reads from the earliest record to the end. Each line has topic, origin, epoch, partition, offset,
lane, seq, timestamp, key, value and headers. Gaps are told on standard error.

Options:
  --data DIR         The node's directory
  --config FILE      Its configuration; landfall.toml in the directory if left out
  --from POSITION    earliest (without it), latest, @OFFSET, seq:SEQ, coordinates such
                     as ship-17/ais/0@4711, or a time such as 2022-01-03T00:00:00Z
  --origin SITE      Only what was first written at this site
  --partition N      Only this partition
  --max N            At most so many records
  --min-position P   Wait until what is at P has come: coordinates that an append printed, or a
                     cursor
  --wait TIME        How long, such as 30s; 5s if left out
  --corrected        Add what a clock that was wrong should have shown, where that is known
  --follow           Wait for more at the end, and for the node if it does not run
  --raw              Print only values, as they are; tombstones are left out
  --help             Show this
";

/// Options of `landfall read`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReadOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to read.
    pub topic: String,
    /// Parameters of the request, but for `max`.
    pub query: String,
    /// At most so many records.
    pub max: Option<u64>,
    /// Whether to wait for more.
    pub follow: bool,
    /// Whether to print values only.
    pub raw: bool,
}

impl ReadOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut topic, mut query, mut max) = (None, Query::default(), None);
        let (mut follow, mut raw) = (false, false);
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) => match name.as_str() {
                    "--from" => {
                        query.add("from", &arguments.parsed::<Position>(name)?.to_string());
                    }
                    "--origin" => {
                        let site = arguments.value(name)?;
                        check_site(&site).map_err(|error| arguments.wrong(error.to_string()))?;
                        query.add("origin", &site);
                    }
                    "--partition" => {
                        query.add("partition", &arguments.parsed::<u32>(name)?.to_string());
                    }
                    "--min-position" => query.add("min_position", &arguments.value(name)?),
                    "--wait" => query.add("wait_max_ms", &arguments.ms(name)?.to_string()),
                    "--max" => max = Some(arguments.parsed::<u64>(name)?),
                    "--corrected" => query.add("corrected", "true"),
                    "--follow" => follow = true,
                    "--raw" => raw = true,
                    _ => return Err(arguments.unknown(&word).into()),
                },
                Word::Plain(text) if topic.is_none() => {
                    check_topic(text).map_err(|error| arguments.wrong(error.to_string()))?;
                    topic = Some(text.clone());
                }
                Word::Plain(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let topic = topic.ok_or_else(|| arguments.wrong("which topic?"))?;
        if max == Some(0) {
            return Err(arguments.wrong("`--max` must be at least 1").into());
        }
        let node = arguments.data()?;
        Ok(Command::Read(Self { node, topic, query: query.0, max, follow, raw }))
    }

    fn query(&self, records_left: Option<u64>) -> String {
        let mut query = Query(self.query.clone());
        if let Some(left) = records_left {
            query.add("max", &left.to_string());
        }
        query.0
    }
}

/// Reads, and writes records to `out`. A reader behind `out` that went away ends it well.
///
/// # Errors
/// When the node refuses or breaks off, or `out` fails.
pub async fn run(
    options: &ReadOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let outcome = match options.follow {
        true => follow(options, client, out).await,
        false => read(options, client, out).await,
    };
    match outcome {
        Err(Ended::Failed(failure)) => Err(failure),
        Err(Ended::NobodyReads) => Ok(Exit::Done),
        Ok(()) => match flush(out) {
            Err(Ended::Failed(failure)) => Err(failure),
            _ => Ok(Exit::Done),
        },
    }
}

/// Why reading stopped early.
enum Ended {
    NobodyReads,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

async fn read(options: &ReadOptions, client: &Client, out: &mut impl Write) -> Result<(), Ended> {
    let mut lines = client.read(&options.topic, &options.query(options.max)).await?;
    while let Some(line) = lines.next().await? {
        if line.starts_with(b"{\"end\":") {
            return Ok(());
        }
        print(options, &line, out)?;
    }
    Err(Failure::refused("the node ended its answer early; its log may say why").into())
}

/// Pauses between attempts to find a node again that restarts.
pub(super) const RECONNECT_AFTER: Duration = Duration::from_millis(500);
pub(super) const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(10);

async fn follow(options: &ReadOptions, client: &Client, out: &mut impl Write) -> Result<(), Ended> {
    let mut last_event: Option<String> = None;
    let mut left = options.max;
    let mut pause = RECONNECT_AFTER;
    let mut reached = false;
    loop {
        let query = options.query(left);
        let attempt = client.follow(&options.topic, &query, last_event.as_deref()).await;
        let error = match attempt {
            Err(error) => error,
            Ok(mut events) => {
                reached = true;
                loop {
                    match events.next().await {
                        Err(error) => break error,
                        Ok(None) => return Ok(()),
                        Ok(Some(event)) => {
                            pause = RECONNECT_AFTER;
                            print(options, &event.data, out)?;
                            flush(out)?;
                            last_event = Some(event.id);
                            left = left.map(|left| left.saturating_sub(1));
                        }
                    }
                }
            }
        };
        if left == Some(0) {
            return Ok(());
        }
        // A node that was never there is a mistake; one that went away comes back.
        if !reached || !error.may_pass() {
            return Err(error.into());
        }
        eprintln!("landfall read: {error}; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_AFTER_MAX);
    }
}

fn print(options: &ReadOptions, line: &[u8], out: &mut impl Write) -> Result<(), Ended> {
    if line.starts_with(b"{\"gap\":") {
        eprintln!("landfall read: records are missing: {}", String::from_utf8_lossy(line));
        return Ok(());
    }
    let written = match options.raw {
        false => out.write_all(line).and_then(|()| out.write_all(b"\n")),
        true => {
            let value = value_of(line)
                .map_err(|error| Failure::refused(format!("an unknown record: {error}")))?;
            match value {
                Some(value) => out.write_all(&value).and_then(|()| out.write_all(b"\n")),
                None => Ok(()),
            }
        }
    };
    written.map_err(cannot_print)
}

fn flush(out: &mut impl Write) -> Result<(), Ended> {
    out.flush().map_err(cannot_print)
}

fn cannot_print(error: std::io::Error) -> Ended {
    if error.kind() == ErrorKind::BrokenPipe {
        return Ended::NobodyReads;
    }
    Failure::refused(format!("cannot print records: {error}")).into()
}

#[derive(Deserialize)]
struct ValueOf<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    form: Option<&'a str>,
}

#[derive(Deserialize)]
struct Encoded<'a> {
    base64: &'a str,
}

/// The value of a record as it was appended; none for a tombstone.
pub(super) fn value_of(line: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let ValueOf { value, form } = serde_json::from_slice(line).map_err(wrong)?;
    Ok(match form {
        None => Some(value.get().as_bytes().to_vec()),
        Some("text") => {
            Some(serde_json::from_str::<String>(value.get()).map_err(wrong)?.into_bytes())
        }
        Some("bytes") => {
            let Encoded { base64 } = serde_json::from_str(value.get()).map_err(wrong)?;
            Some(STANDARD.decode(base64).map_err(|error| error.to_string())?)
        }
        Some("tombstone") => None,
        Some(form) => return Err(format!("its form is `{form}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_values_are_what_was_appended() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"{\"value\":{\"a\": 1.0}}", Some(b"{\"a\": 1.0}")),
            (b"{\"value\":\"x\"}", Some(b"\"x\"")),
            (b"{\"value\":\"x\\n\",\"form\":\"text\"}", Some(b"x\n")),
            (b"{\"value\":{\"base64\":\"/wA=\"},\"form\":\"bytes\"}", Some(b"\xff\0")),
            (b"{\"value\":null,\"form\":\"tombstone\"}", None),
        ];
        for (line, value) in cases {
            assert_eq!(value_of(line).unwrap().as_deref(), value);
        }
    }
}
