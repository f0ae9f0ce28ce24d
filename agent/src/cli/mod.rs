//! The command line: words to commands, commands to calls of the API, answers to people.
//!
//! Every command has a file with its help, its options and, where it needs nothing but the API, its
//! body. [`parse`] has no side effects; what a command prints goes through the writers it is given.

pub mod append;
mod arguments;
pub mod call;
pub mod connect;
pub mod consumer;
pub mod dead;
pub mod doctor;
mod failure;
pub mod group;
pub mod init;
#[cfg(feature = "kafka")]
pub mod kafka;
mod node;
pub mod on;
#[cfg(feature = "views")]
pub mod query;
pub mod read;
pub mod run;
pub mod sites;
pub mod status;
pub mod terminal;
pub mod token;
#[cfg(feature = "torture")]
pub mod torture;
pub mod trace;
pub mod verify;
#[cfg(feature = "views")]
pub mod view;

use std::ffi::OsString;

use arguments::{Arguments, Stop, Word};
pub use arguments::{DataOptions, Usage};
pub use failure::{Exit, Failure};
pub use node::{DoctorOptions, InitOptions, JoinToken, RunOptions, VerifyOptions};

use crate::nearest::nearest;

/// What a person asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// To read this text.
    Help(&'static str),
    /// To know the version.
    Version,
    /// To see a ship go offline and come back; with a broker, in front of Kafka.
    Demo(Option<String>),
    /// To make a node.
    Init(InitOptions),
    /// To run it.
    Run(RunOptions),
    /// To append events.
    Append(append::AppendOptions),
    /// To append records together.
    Group(group::GroupOptions),
    /// To read them.
    Read(read::ReadOptions),
    /// To know or change how far consumers are.
    Consumer(consumer::ConsumerOptions),
    /// To run a program for each record.
    On(on::OnOptions),
    /// To give a command and have its reply.
    Call(call::CallOptions),
    /// To deal with what consumers, views and rules could not deal with.
    Dead(dead::DeadOptions),
    /// To know how the node is.
    Status(status::StatusOptions),
    /// To ask the views.
    #[cfg(feature = "views")]
    Query(query::QueryOptions),
    /// To know how the views are.
    #[cfg(feature = "views")]
    View(view::ViewOptions),
    /// To know where a record came from.
    Trace(trace::TraceOptions),
    /// To check every checksum, hash and invariant.
    Verify(VerifyOptions),
    /// To let a site enrol.
    Token(token::TokenOptions),
    /// To see or change the sites of a hub.
    Sites(sites::SitesOptions),
    /// To repair what a hub needs in Kafka.
    #[cfg(feature = "kafka")]
    Kafka(kafka::KafkaOptions),
    /// To find out what is wrong between this machine and the hub.
    Doctor(DoctorOptions),
    /// To see what a machine keeps whose plug is pulled.
    #[cfg(feature = "torture")]
    Torture(torture::TortureOptions),
}

/// What `landfall` alone says.
pub const HELP: &str = "\
Landfall: an event log for devices that are often offline

Usage: landfall COMMAND [OPTION…]

  demo      Watch a ship go offline and come back, in temporary folders, on real data
  init      Make a node, and enrol it at a hub
  run       Run the node
  append    Append events, one JSON value a line
  group     Append records of several topics together or not at all
  read      Read a topic, one JSON object a record
  consumer  Show how far consumers are, and say where they go on
  on        Run a program for each record of a topic
  call      Give a command, and wait for its reply
  dead      Show what could not be dealt with, and say what becomes of it
  query     Ask the views in SQL
  view      Show how the views are
  status    Show how the node is and what to do about it
  trace     Show where a record came from, and what it touched
  verify    Check every checksum, hash and invariant
  token     Make a token that lets a site enrol at this hub
  sites     List, revoke or split the sites of this hub
  kafka     Look after what the hubs of a group have in Kafka
  doctor    Find out what stands between this machine and its hub
  torture   Pull the plug yourself, and learn what was lost and who broke a promise

Options:
  --help       Show this, or the help of a command: landfall COMMAND --help
  --version    Show the version

LANDFALL_DATA stands for --data, LANDFALL_CONFIG for --config; docs/configuration.md lists the
others.
Exit codes: 0 done, 1 a check failed, 2 wrong usage, 3 refused or unreachable.
";

const COMMANDS: [&str; 20] = [
    "demo", "init", "run", "append", "group", "read", "consumer", "on", "call", "dead", "query",
    "view", "status", "trace", "verify", "token", "sites", "kafka", "doctor", "torture",
];

const DEMO_HELP: &str = "\
Watch a ship go offline and come back, in temporary folders, on real data

Usage: landfall demo [--kafka HOST:PORT]

A hub and a ship run in a temporary folder. The ship records a sample of AIS positions offline; the
link comes up, slow and far; the hub is killed half way; a copy of the ship's folder is started. In
the end both hold the same records, which is checked one by one. Takes less than 20 seconds.

With --kafka, Apache Kafka stands behind the hub, which is killed half way; in the end an ordinary
consumer finds each record once. What it makes there begins with `landfall-demo-`.

Options:
  --kafka HOST:PORT    A broker of the Kafka to use
  --help               Show this
";

/// Understands the words behind the program's name. `environment` gives the variables.
///
/// # Errors
/// Says which word is wrong, and which was probably meant.
pub fn parse(
    words: impl IntoIterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Command, Usage> {
    let mut arguments = Arguments::new(words, environment);
    let Some(command) = arguments.command()? else { return Ok(Command::Help(HELP)) };
    match command.as_str() {
        "help" | "-h" | "--help" => Ok(Command::Help(HELP)),
        "-V" | "--version" => Ok(Command::Version),
        "demo" => arguments.read("demo", DEMO_HELP, demo),
        "init" => arguments.read("init", node::INIT_HELP, InitOptions::parse),
        "run" => arguments.read("run", node::RUN_HELP, RunOptions::parse),
        "append" => arguments.read("append", append::HELP, append::AppendOptions::parse),
        "group" => arguments.read("group", group::HELP, group::GroupOptions::parse),
        "read" => arguments.read("read", read::HELP, read::ReadOptions::parse),
        "consumer" => arguments.read("consumer", consumer::HELP, consumer::ConsumerOptions::parse),
        "on" => arguments.read("on", on::HELP, on::OnOptions::parse),
        "call" => arguments.read("call", call::HELP, call::CallOptions::parse),
        "dead" => arguments.read("dead", dead::HELP, dead::DeadOptions::parse),
        #[cfg(feature = "views")]
        "query" => arguments.read("query", query::HELP, query::QueryOptions::parse),
        #[cfg(feature = "views")]
        "view" => arguments.read("view", view::HELP, view::ViewOptions::parse),
        #[cfg(not(feature = "views"))]
        "query" | "view" => Err(Usage::new("", "this build has no views; use the full program")),
        "status" => arguments.read("status", status::HELP, status::StatusOptions::parse),
        "trace" => arguments.read("trace", trace::HELP, trace::TraceOptions::parse),
        "verify" => arguments.read("verify", node::VERIFY_HELP, VerifyOptions::parse),
        "token" => arguments.read("token", token::HELP, token::TokenOptions::parse),
        "sites" => arguments.read("sites", sites::HELP, sites::SitesOptions::parse),
        #[cfg(feature = "kafka")]
        "kafka" => arguments.read("kafka", kafka::HELP, kafka::KafkaOptions::parse),
        #[cfg(not(feature = "kafka"))]
        "kafka" => Err(Usage::new("", "this build has no Kafka; use the full program")),
        "doctor" => arguments.read("doctor", node::DOCTOR_HELP, DoctorOptions::parse),
        #[cfg(feature = "torture")]
        "torture" => arguments.read("torture", torture::HELP, torture::TortureOptions::parse),
        #[cfg(not(feature = "torture"))]
        "torture" => Err(Usage::new(
            "torture",
            "this build for devices lacks it; test with the full program",
        )),
        unknown => {
            let meant = nearest(unknown, COMMANDS).map(str::to_owned);
            Err(Usage::unknown_command(unknown, meant))
        }
    }
}

fn demo(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
    let mut kafka = None;
    while let Some(word) = arguments.next()? {
        match &word {
            Word::Option(name) if cfg!(feature = "kafka") && name == "--kafka" => {
                kafka = Some(arguments.value(name)?);
            }
            _ => return Err(arguments.unknown(&word).into()),
        }
    }
    Ok(Command::Demo(kafka))
}

#[cfg(test)]
mod tests;
