//! `landfall trace`: where a record came from, and what it touched.

use std::io::Write;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{Client, Trace};
use crate::quantity::count_text;
use crate::time_text;

pub(super) const HELP: &str = "\
Show where a record came from, and what it touched

Usage: landfall trace --data DIR COORDINATES [OPTION…]

COORDINATES name a record that this node has, such as ship-17/ais/0@4711, as read and append show
them. trace shows the nodes that it came from and what it was derived from; the records that were
derived from it and the dead letters about it, as far as they are here; and which views of this node
have it behind them, while the node runs. What comes of a record is looked for from its place in the
log on.

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall trace`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceOptions {
    /// Which node.
    pub node: DataOptions,
    /// The record.
    pub coordinates: String,
    /// Whether machines read it.
    pub json: bool,
}

impl TraceOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut coordinates, mut json) = (None, false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Plain(text) if coordinates.is_none() => coordinates = Some(text),
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        let wrong = "trace which record? Give its coordinates";
        let coordinates = coordinates.ok_or_else(|| arguments.wrong(wrong))?;
        Ok(Command::Trace(Self { node: arguments.data()?, coordinates, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// As the node says, or `out` fails.
pub async fn run(
    options: &TraceOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let trace = client.trace(&options.coordinates).await?;
    let text = match options.json {
        true => serde_json::to_string(&trace).unwrap_or_default() + "\n",
        false => text(&trace),
    };
    print_text(out, &text)
}

/// A trace for people.
fn text(trace: &Trace) -> String {
    let mut text = format!("{} in commit {} here\n", trace.coordinates, count_text(trace.commit));
    text.push_str(&format!("{}\n\n", trace.record));
    let mut table = Table::new(&["", "what", "how"]);
    let mut row = |kind: &str, what: &str, how: String| {
        table.row([kind.to_owned(), what.to_owned(), how]);
    };
    if let Some(cause) = &trace.cause {
        row("derived from", &cause.coordinates, format!("by {}", cause.by));
    }
    for hop in &trace.path {
        row("came from", &hop.site, format!("taken in {}", time_text::format(hop.received_ms)));
    }
    for derived in &trace.derived {
        row("derives", &derived.coordinates, format!("by {}", derived.by));
    }
    for letter in &trace.letters {
        let state = if letter.settled { "settled" } else { "waits" };
        let error = letter.error.replace(['\n', '\r'], " ");
        row("dead letter", &letter.letter, format!("{state}: {error}"));
    }
    for view in &trace.views {
        let how = if view.passed { "has it behind it" } else { "has not come to it" };
        row("view", &view.view, how.to_owned());
    }
    text.push_str(&table.text());
    if trace.truncated {
        text.push_str("\nMore was derived, or set aside, than is shown.\n");
    }
    text
}
