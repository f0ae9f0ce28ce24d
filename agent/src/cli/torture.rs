//! `landfall torture`: its help and its options.

use std::path::PathBuf;

use super::arguments::{Arguments, Stop, Word};
use super::{Command, DataOptions};
use crate::coordinates::check_topic;

pub(super) const HELP: &str = "\
Pull the plug yourself, and learn what was lost and who broke a promise

Usage: landfall torture --data DIR --write [--ledger FILE] [OPTION…]
       landfall torture --data DIR --check --ledger FILE|- [OPTION…]

--write appends to the node that runs in DIR, as fast as it is told to, and notes in the ledger what
was acknowledged. Meanwhile pull the plug of the machine, of its network or of its hub. The ledger
must survive that: without --ledger it goes to standard output, so that another machine can keep it:

  ssh ship-17 landfall torture --data DIR --write >> torture.ledger

--check looks at DIR when the power is back, best before the node starts again, and changes nothing.
It compares every record with the ledger: each that was acknowledged must be there once, in order,
with its content. What is lost is told by number, and whether the medium or the agent broke its
promise. Exits with 0 if nothing is lost, else with 1.

Options:
  --data DIR        The node's directory; it must run to write, and must not run to check
  --config FILE     Its configuration; landfall.toml in the directory if left out
  --write           Append, and note what is acknowledged, until it is interrupted
  --check           Compare what is there with the ledger
  --ledger FILE     The ledger, on another disk than DIR; more runs are added to it
  --topic NAME      Write to this topic; torture if left out
  --rate N          Write at most so many records a second; 2,000 if left out
  --records N       Stop after so many
  --hub PATH        Also check what the hub has: its directory or its API socket
  --json            Print one JSON object for machines in the end
  --help            Show this
";

/// Options of `landfall torture`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TortureOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to do.
    pub action: TortureAction,
    /// Where the ledger is; standard output or input if none.
    pub ledger: Option<PathBuf>,
    /// Whether machines read the outcome.
    pub json: bool,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TortureAction {
    /// Append, and note what is acknowledged.
    Write {
        /// Where to.
        topic: String,
        /// Records a second at most.
        rate: u64,
        /// When to stop.
        records: Option<u64>,
    },
    /// Compare what is there with the ledger.
    Check {
        /// A hub's directory or socket.
        hub: Option<PathBuf>,
    },
}

/// Where to write if nobody says.
const TOPIC: &str = "torture";
/// Records a second if nobody says: a disk that syncs 50 times a second keeps up.
const RATE: u64 = 2_000;

impl TortureOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut write, mut check, mut json) = (false, false, false);
        let (mut ledger, mut hub) = (None, None);
        let (mut topic, mut rate, mut records) = (None, None, None);
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) => match name.as_str() {
                    "--write" => write = true,
                    "--check" => check = true,
                    "--json" => json = true,
                    "--ledger" => ledger = Some(arguments.value(name)?),
                    "--hub" => hub = Some(PathBuf::from(arguments.value(name)?)),
                    "--topic" => {
                        let text = arguments.value(name)?;
                        check_topic(&text).map_err(|error| arguments.wrong(error.to_string()))?;
                        topic = Some(text);
                    }
                    "--rate" => rate = Some(arguments.parsed::<u64>(name)?),
                    "--records" => records = Some(arguments.parsed::<u64>(name)?),
                    _ => return Err(arguments.unknown(&word).into()),
                },
                Word::Plain(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let wrong = |text: &str| Err(Stop::Wrong(arguments.wrong(text)));
        if write == check {
            return wrong("say either `--write` or `--check`");
        }
        if write && hub.is_some() {
            return wrong("`--hub` goes with `--check`");
        }
        if check && (topic.is_some() || rate.is_some() || records.is_some()) {
            return wrong("`--topic`, `--rate` and `--records` go with `--write`");
        }
        if rate == Some(0) || records == Some(0) {
            return wrong("`--rate` and `--records` must be at least 1");
        }
        if check && ledger.is_none() {
            return wrong("which ledger? Give it by `--ledger FILE`, or `-` for standard input");
        }
        let action = match write {
            true => TortureAction::Write {
                topic: topic.unwrap_or_else(|| TOPIC.to_owned()),
                rate: rate.unwrap_or(RATE),
                records,
            },
            false => TortureAction::Check { hub },
        };
        let ledger = ledger.filter(|path| path != "-").map(PathBuf::from);
        Ok(Command::Torture(Self { node: arguments.data()?, action, ledger, json }))
    }
}
