//! The commands that need the node itself: their help and options.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::arguments::{Arguments, Stop, Word};
use super::{Command, DataOptions, Usage};
use crate::config::HostPort;
use crate::coordinates::check_site;

pub(super) const INIT_HELP: &str = "\
Make a node: its key, its name, its configuration, its empty journal

Usage: landfall init --data DIR [OPTION…]

Options:
  --data DIR         Where to make it; created if missing, refused if a node is there
  --site NAME        Its unique name; the host's name if left out
  --listen ADDR      Accept other nodes there, such as [::]:4520
  --advertise ADDR   Address that tokens name, as host or host:port; may be repeated
  --join TOKEN       Enrol at a hub; `-` reads the token from standard input, `@FILE` from a file,
                     which keeps it out of the shell's history and the list of processes
  --split            Give the copy of a node that is there a new key and the token's name, as
                     `landfall sites split` says; what it holds stays
  --help             Show this
";

pub(super) const RUN_HELP: &str = "\
Run the node until it is told to stop (SIGTERM, SIGINT)

Usage: landfall run --data DIR [OPTION…]

Options:
  --data DIR        The node's directory
  --config FILE     Its configuration; landfall.toml in the directory if left out
  --until-synced    Exit with 0 once everything here is durable at the root, and what comes down
                    is here
  --accept-loss     Let views that are made anew lack rows whose records the log has forgotten
  --help            Show this
";

pub(super) const VERIFY_HELP: &str = "\
Check every checksum, hash and invariant of the node's data

Usage: landfall verify --data DIR [OPTION…]

Exits with 0 if all is well; else with 1, and lists what is damaged, where, and what it means.

Options:
  --data DIR       The node's directory; the node must not run
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --json           Print one JSON object for machines
  --help           Show this
";

pub(super) const DOCTOR_HELP: &str = "\
Find out what stands between this machine and its hub

Usage: landfall doctor --data DIR [OPTION…]

Tests name, UDP both ways, MTU, hub key, clock offset, sync latency and free space. Exits with 1 if
one of them fails.

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall init`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InitOptions {
    /// Where to make the node.
    pub data: PathBuf,
    /// Its name.
    pub site: Option<String>,
    /// Where it accepts others.
    pub listen: Option<SocketAddr>,
    /// What tokens name.
    pub advertise: Vec<HostPort>,
    /// Where its token is.
    pub join: Option<JoinToken>,
    /// Whether a node that is there gets another name.
    pub split: bool,
}

/// Where an enrolment token is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JoinToken {
    /// In the arguments, for all to see.
    Given(String),
    /// On standard input.
    Input,
    /// In a file.
    File(PathBuf),
}

/// Options of `landfall run`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunOptions {
    /// Which node.
    pub node: DataOptions,
    /// Whether to end once everything is durable at the root.
    pub until_synced: bool,
    /// Whether views may be made anew without what the log has forgotten.
    pub accept_loss: bool,
}

/// Options of `landfall verify`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifyOptions {
    /// Which node.
    pub node: DataOptions,
    /// Whether machines read the outcome.
    pub json: bool,
}

/// Options of `landfall doctor`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DoctorOptions {
    /// Which node.
    pub node: DataOptions,
    /// Whether machines read the outcome.
    pub json: bool,
}

impl InitOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut site, mut listen, mut advertise, mut join) = (None, None, Vec::new(), None);
        let mut split = false;
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) if name == "--site" => {
                    let name = arguments.value(name)?;
                    check_site(&name).map_err(|error| arguments.wrong(error.to_string()))?;
                    site = Some(name);
                }
                Word::Option(name) if name == "--listen" => {
                    let text = arguments.value(name)?;
                    listen = Some(listen_address(arguments, &text)?);
                }
                Word::Option(name) if name == "--advertise" => {
                    let text = arguments.value(name)?;
                    let address = HostPort::parse(&text).ok_or_else(|| {
                        arguments.wrong(format!("`{text}` is no address; write host or host:port"))
                    })?;
                    advertise.push(address);
                }
                Word::Option(name) if name == "--join" => {
                    join = Some(JoinToken::of(arguments.value(name)?));
                }
                Word::Option(name) if name == "--split" => split = true,
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        if split && (join.is_none() || listen.is_some()) {
            return Err(arguments
                .wrong("`--split` goes with `--join TOKEN`, and no address")
                .into());
        }
        if listen.is_none() && !advertise.is_empty() {
            return Err(arguments.wrong("`--advertise` is of no use without `--listen`").into());
        }
        let data = arguments.data()?.data;
        Ok(Command::Init(Self { data, site, listen, advertise, join, split }))
    }
}

impl JoinToken {
    fn of(text: String) -> Self {
        match text.strip_prefix('@') {
            Some(path) => Self::File(path.into()),
            None if text == "-" => Self::Input,
            None => Self::Given(text),
        }
    }
}

fn listen_address(arguments: &Arguments<'_>, text: &str) -> Result<SocketAddr, Usage> {
    crate::config::listen_address(text).ok_or_else(|| {
        arguments.wrong(format!("`{text}` is no address to listen on; write one such as [::]:4520"))
    })
}

impl RunOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut until_synced, mut accept_loss) = (false, false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--until-synced" => until_synced = true,
                Word::Option(name) if name == "--accept-loss" => accept_loss = true,
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        Ok(Command::Run(Self { node: arguments.data()?, until_synced, accept_loss }))
    }
}

impl VerifyOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let json = flag(arguments, "--json")?;
        Ok(Command::Verify(Self { node: arguments.data()?, json }))
    }
}

impl DoctorOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let json = flag(arguments, "--json")?;
        Ok(Command::Doctor(Self { node: arguments.data()?, json }))
    }
}

/// Reads all words of a command that has one flag and nothing else.
pub(super) fn flag(arguments: &mut Arguments<'_>, flag: &str) -> Result<bool, Stop> {
    let mut is_set = false;
    while let Some(word) = arguments.next()? {
        match &word {
            Word::Option(name) if name == flag => is_set = true,
            _ => return Err(arguments.unknown(&word).into()),
        }
    }
    Ok(is_set)
}
