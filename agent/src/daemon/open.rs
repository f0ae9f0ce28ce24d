//! Opening a data directory: lock, identity, configuration, journal, node.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_core::journal::{CONTROL_SLOTS, Config as JournalConfig, Fresh, Journal, Recovery};
use landfall_core::limits::{ENTRY_BYTES_MAX, JOINED_BYTES_MAX, LANES_MAX};
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId};
use landfall_core::tables::{Heap, Parts};
use landfall_protocol::backoff::BackoffConfig;
use landfall_protocol::time::Duration;

use super::gate::SiteGate;
use super::machine::now;
use crate::config::{self, Config, Profile};
use crate::entropy::{self, NoEntropy};
use crate::identity::{KeyFileFault, LineKeys, LineKeysFault, NodeKey};
use crate::media::{DirLock, FileMedia, FileShape, OpenError as MediaOpenError, sync_names};
use crate::node::{
    LaneSettings, Node, OnFull, Replicate, Settings, TopicSettings, TrimAt, checksum,
};
use crate::transport::{SerialLine, SerialPlace};
use crate::whole_file::write_whole;

/// A node that is open for writing.
pub struct Opened {
    /// The machine.
    pub node: Node<FileMedia, SiteGate>,
    /// Its identity.
    pub key: NodeKey,
    /// What it was told.
    pub config: Config,
    /// What recovery found.
    pub recovery: Recovery,
    /// Where it lives.
    pub data: PathBuf,
    /// The token that it enrols with, if it has not yet.
    pub token: Option<crate::identity::token::Token>,
    /// The serial lines that it listens on.
    pub lines: Vec<SerialLine>,
}

/// Why a node can't be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The directory holds no node.
    NoNode(PathBuf),
    /// The directory holds a node already.
    Exists(PathBuf),
    /// The node in the directory has that name already.
    SameSite(PathBuf, String),
    /// The medium can't be opened.
    Media(MediaOpenError),
    /// The journal can't be opened.
    Journal(PathBuf, landfall_core::journal::OpenError),
    /// The key can't be read.
    Key(KeyFileFault),
    /// The system gives no random numbers.
    Entropy(NoEntropy),
    /// A file of the node can't be read or written.
    File(PathBuf, std::io::Error),
    /// The lanes differ from those that the journal was made with.
    Lanes {
        /// What it was made with.
        made: Vec<String>,
        /// What the configuration says.
        told: Vec<String>,
    },
    /// There are more lanes than a journal can have.
    TooManyLanes,
    /// A stored token can't be read.
    Token(PathBuf),
    /// The keys of a serial line can't be used.
    LineKeys(LineKeysFault),
}

/// The file that names the lanes in the order of their numbers.
const LANES_FILE: &str = "lanes";
/// The file with the node's name.
pub(super) const SITE_FILE: &str = "site";
/// The file with the token that the node enrols with.
pub(super) const TOKEN_FILE: &str = "join.token";
/// Slots for the node's own topics.
const INTERNAL_SLOTS: u32 = 4;
/// Bytes that each node below may have under way to a hub: several full commits, so that the next
/// ones arrive while one is synced. It is not memory of the hub's: what it has not taken waits in
/// the transports of both ends, within their windows.
const HUB_CREDIT_BYTES: u64 = 8 << 20;
/// Bytes of a lane that wait in a device's transport: two bodies as stored, and what is packed.
const DEVICE_LANE_BYTES: usize = 160 << 10;
/// Streams that a node may hold.
pub(super) const STREAMS_MAX: usize = 200_000;

/// Makes a node's directory: name, key, lanes, and a configuration file if there is none.
///
/// # Errors
/// See [`StartError`].
pub fn create(
    data: &Path,
    site: &str,
    token: Option<&str>,
    toml: &str,
) -> Result<NodeKey, StartError> {
    let failed = |path: PathBuf| move |error| StartError::File(path, error);
    fs::create_dir_all(data).map_err(failed(data.into()))?;
    if data.join(SITE_FILE).exists() {
        return Err(StartError::Exists(data.into()));
    }
    let mut seed = [0; 32];
    entropy::fill(&mut seed).map_err(StartError::Entropy)?;
    let key = NodeKey::load_or_create(data, seed).map_err(StartError::Key)?;
    let path = data.join(config::FILE_NAME);
    if !path.exists() {
        write_whole(&path, toml.as_bytes(), 0o644).map_err(failed(path.clone()))?;
    }
    if let Some(token) = token {
        let path = data.join(TOKEN_FILE);
        write_whole(&path, token.as_bytes(), 0o600).map_err(failed(path.clone()))?;
    }
    // The name comes last: a directory without it is not a node yet.
    let path = data.join(SITE_FILE);
    write_whole(&path, site.as_bytes(), 0o644).map_err(failed(path.clone()))?;
    sync_names(data).map_err(StartError::Media)?;
    Ok(key)
}

/// Opens a node's directory for writing.
///
/// # Errors
/// See [`StartError`].
pub fn open(data: &Path, config: Config) -> Result<Opened, StartError> {
    if !data.join(SITE_FILE).exists() {
        return Err(StartError::NoNode(data.into()));
    }
    let lanes = lane_names(data, &config)?;
    let Layout { mut settings, journal: journal_config, shape } =
        Layout::of(data, &config, &lanes)?;
    let media = FileMedia::open(data, shape).map_err(StartError::Media)?;
    let key = NodeKey::load(data).map_err(StartError::Key)?;
    let key = key.ok_or_else(|| StartError::NoNode(data.into()))?;
    let random = || entropy::number().map_err(StartError::Entropy);
    let boot = BootId::new(entropy::boot_id().map_err(StartError::Entropy)?);
    let fresh = Fresh {
        log: LogId::new(random()?),
        epoch: Epoch::new(random()?),
        boot,
        first_commit: CommitNo::new(1),
    };
    let parts = Parts::<Heap>::new(shape.slots, STREAMS_MAX, journal_config.commit_max as usize);
    let (journal, recovery) = Journal::open(media, journal_config, parts, fresh)
        .map_err(|error| StartError::Journal(data.into(), error))?;
    let token = stored_token(data)?;
    settings.enrol =
        token.as_ref().map(|token| (token.id.to_string(), token.secret.expose().to_vec()));
    let seed = random()?;
    let lines = serial_lines(&config)?;
    let gate = SiteGate::with_devices(lines.iter().map(|line| &*line.keys));
    let gate = if config.kafka.is_there() { gate.shared() } else { gate };
    let node = Node::new(journal, settings, gate, boot, seed, now());
    Ok(Opened { node, key, config, recovery, data: data.into(), token, lines })
}

impl Opened {
    /// The token has served: forgets it.
    pub fn forget_token(data: &Path) {
        // If it stays, it is refused as used or repeated, which does no harm.
        let _ = fs::remove_file(data.join(TOKEN_FILE));
    }
}

fn serial_lines(config: &Config) -> Result<Vec<SerialLine>, StartError> {
    let line = |line: &config::Serial| -> Result<SerialLine, StartError> {
        let keys = LineKeys::read(&line.keys_file).map_err(StartError::LineKeys)?;
        let place = match (&line.port, line.tcp) {
            (_, Some(address)) => SerialPlace::Tcp(address),
            (port, None) => SerialPlace::Port(port.clone().unwrap_or_default(), line.baud),
        };
        Ok(SerialLine { place, keys: Arc::new(keys) })
    };
    config.serial.iter().map(line).collect()
}

fn stored_token(data: &Path) -> Result<Option<crate::identity::token::Token>, StartError> {
    let path = data.join(TOKEN_FILE);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| StartError::Token(path))
}

/// How a node's data is laid out, by its name, its lanes and its configuration.
pub(super) struct Layout {
    pub(super) settings: Settings,
    pub(super) journal: JournalConfig,
    pub(super) shape: FileShape,
}

impl Layout {
    pub(super) fn of(data: &Path, config: &Config, lanes: &[String]) -> Result<Self, StartError> {
        let site = fs::read_to_string(data.join(SITE_FILE))
            .map_err(|_| StartError::NoNode(data.into()))?
            .trim()
            .to_owned();
        let site = config.node.site.clone().unwrap_or(site);
        let settings = settings(&site, config, lanes);
        let journal = journal_config(config, &settings)?;
        let slots = journal.slots.iter().sum::<u32>() + CONTROL_SLOTS;
        let slot_bytes = u32::try_from(config.storage.segment_bytes.0).unwrap_or(u32::MAX);
        let shape = FileShape { slots, slot_bytes, powersafe: config.storage.powersafe };
        Ok(Self { settings, journal, shape })
    }
}

/// The lanes in the order of their numbers, which never changes once the journal is made.
fn lane_names(data: &Path, config: &Config) -> Result<Vec<String>, StartError> {
    if let Some(made) = lanes_made(data, config)? {
        return Ok(made);
    }
    // Another command may be about to make them.
    let _lock = DirLock::take(data).map_err(StartError::Media)?;
    if let Some(made) = lanes_made(data, config)? {
        return Ok(made);
    }
    let told: Vec<_> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
    let path = data.join(LANES_FILE);
    let text = told.join("\n") + "\n";
    write_whole(&path, text.as_bytes(), 0o644).map_err(|error| StartError::File(path, error))?;
    Ok(told)
}

/// The lanes that the journal was made with, if it was made.
pub(super) fn lanes_made(data: &Path, config: &Config) -> Result<Option<Vec<String>>, StartError> {
    let told: Vec<_> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
    if told.len() >= LANES_MAX {
        return Err(StartError::TooManyLanes);
    }
    let Ok(text) = fs::read_to_string(data.join(LANES_FILE)) else { return Ok(None) };
    let made: Vec<_> = text.lines().map(str::to_owned).collect();
    let (mut left, mut right) = (made.clone(), told.clone());
    left.sort();
    right.sort();
    if left == right { Ok(Some(made)) } else { Err(StartError::Lanes { made, told }) }
}

fn settings(site: &str, config: &Config, lanes: &[String]) -> Settings {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let span = |time| Duration::from_millis(millis(time));
    let lane = |name: &String| {
        let told = config.lane(name);
        let on_full = told.map(|lane| lane.on_full);
        LaneSettings {
            name: name.clone(),
            priority: told.map(|lane| lane.priority).unwrap_or_default(),
            on_full: match on_full {
                Some(config::OnFull::DropOldest) => OnFull::DropOldest,
                _ => OnFull::Reject,
            },
            commit_every: told.map(|lane| span(lane.commit_every)).unwrap_or_default(),
        }
    };
    let number = |name: &str| {
        let at = lanes.iter().position(|lane| lane == name).unwrap_or_default();
        Lane::new(at as u8)
    };
    let topic = |topic: &config::Topic| {
        let replicate = match topic.replicate {
            config::Replicate::Always => Replicate::Always,
            config::Replicate::Never => Replicate::Never,
            config::Replicate::Down => Replicate::Down,
        };
        let lane = number(&topic.lane);
        (topic.name.clone(), TopicSettings { lane, replicate })
    };
    let most = millis(config.upstream.backoff_max);
    let standard = Settings::standard(site);
    let hub = config.node.profile == Profile::Hub;
    let memory = config.memory();
    let credit_bytes = if hub { HUB_CREDIT_BYTES } else { standard.credit_bytes };
    Settings {
        lanes: lanes.iter().map(lane).collect(),
        default_lane: number("normal"),
        topics: config.topics.iter().map(topic).collect(),
        create_topics: config.node.create_topics,
        upstream: !config.upstream.addresses.is_empty() || config.kafka.is_there(),
        // Kafka takes what it is given.
        verifies: config.kafka.is_there(),
        in_group: config.kafka.is_there(),
        trim_at: match config.upstream.trim_at {
            config::TrimAt::Root => TrimAt::Root,
            config::TrimAt::Hop => TrimAt::Hop,
        },
        keep_acked_ms: millis(config.storage.keep_acked),
        retention_ms: config.storage.retention.map(millis),
        hold_max_bytes: config.storage.hold_max.0,
        append_bytes_max: standard.append_bytes_max.min(2 * memory.appends),
        credit_bytes: credit_bytes.min(memory.window),
        lane_bytes: if hub { standard.lane_bytes } else { DEVICE_LANE_BYTES },
        rate_bytes_max: config.upstream.rate_bytes_max.map(|rate| rate.0),
        visit_every: config.upstream.visit_every.map(span),
        backoff: BackoffConfig { most: Duration::from_millis(most), ..BackoffConfig::STANDARD },
        ..standard
    }
}

fn journal_config(config: &Config, settings: &Settings) -> Result<JournalConfig, StartError> {
    let segment = config.storage.segment_bytes.0;
    let mut slots = [0; LANES_MAX];
    for (place, lane) in slots.iter_mut().zip(&settings.lanes) {
        let budget = config.lane(&lane.name).map_or(0, |lane| lane.budget_bytes.0);
        *place = u32::try_from(budget / segment).unwrap_or(u32::MAX).max(2);
    }
    let internal = slots.get_mut(usize::from(settings.internal_lane().get()));
    *internal.ok_or(StartError::TooManyLanes)? = INTERNAL_SLOTS;
    let commit = config.storage.commit_bytes_max.0.min(config.memory().commit);
    let commit = u32::try_from(commit).unwrap_or(u32::MAX);
    let slot = u32::try_from(segment).unwrap_or(u32::MAX);
    let commit_max = commit.min(slot / 2);
    Ok(JournalConfig {
        checksum: checksum(),
        lanes: settings.journal_lanes(),
        slots,
        entry_max: (ENTRY_BYTES_MAX as u32).min(commit_max - 8_192),
        commit_max,
        join_max: JOINED_BYTES_MAX as u32,
    })
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNode(data) => write!(
                f,
                "there is no node in {}; make one with `landfall init --data {0}`",
                data.display()
            ),
            Self::Exists(data) => {
                write!(f, "there is a node in {} already; nothing was changed", data.display())
            }
            Self::SameSite(data, site) => write!(
                f,
                "the node in {} is {site} already; was this to be done to its copy?",
                data.display()
            ),
            Self::Media(error) => error.fmt(f),
            Self::Journal(data, landfall_core::journal::OpenError::NewerFormat(format)) => write!(
                f,
                "the journal in {} has format {format}, which a newer version of landfall wrote; \
                 run that version. Nothing was changed",
                data.display()
            ),
            Self::Journal(data, error) => write!(
                f,
                "the journal in {} can't be opened: {error}; `landfall verify` says more",
                data.display()
            ),
            Self::Key(fault) => fault.fmt(f),
            Self::LineKeys(fault) => fault.fmt(f),
            Self::Entropy(error) => error.fmt(f),
            Self::File(path, error) => write!(f, "cannot use {}: {error}", path.display()),
            Self::Lanes { made, told } => write!(
                f,
                "the journal was made with the lanes {}, and the configuration says {}; lanes \
                 can't be added, removed or renamed. Put the old ones back",
                made.join(", "),
                told.join(", ")
            ),
            Self::TooManyLanes => write!(f, "there are too many lanes; at most {}", LANES_MAX - 1),
            Self::Token(path) => write!(
                f,
                "the token in {} is damaged; ask the hub's operator for a new one and write it \
                 there",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_the_configuration_says_of_storage_and_link_reaches_the_node() {
        let folder = TempDir::new().unwrap();
        let text = "[storage]\nhold_max = '7MiB'\nkeep_acked = '5h'\nretention = '9d'\n\
            [upstream]\naddresses = ['hub']\ntrim_at = 'hop'\nrate_bytes_max = '3KiB'\n\
            visit_every = '2h'\nbackoff_max = '40s'\n";
        fs::write(folder.path().join(config::FILE_NAME), text).unwrap();
        let config = Config::load(None, folder.path(), []).unwrap();
        let lanes: Vec<_> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
        let told = settings("ship", &config, &lanes);
        let hours = |hours: u64| hours * 3_600_000;
        assert_eq!(told.hold_max_bytes, 7 << 20);
        assert_eq!((told.keep_acked_ms, told.retention_ms), (hours(5), Some(hours(9 * 24))));
        assert_eq!((told.trim_at, told.upstream), (TrimAt::Hop, true));
        assert_eq!(told.rate_bytes_max, Some(3 << 10));
        assert_eq!(told.visit_every, Some(Duration::from_millis(hours(2))));
        assert_eq!(told.backoff.most, Duration::from_millis(40_000));
    }

    #[test]
    fn two_that_open_a_new_node_at_once_do_not_trip_over_each_other() {
        for _ in 0..40 {
            let folder = TempDir::new().unwrap();
            create(folder.path(), "ship", None, "").unwrap();
            let config = Config::load(None, folder.path(), []).unwrap();
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(|| lane_names(folder.path(), &config));
                [lane_names(folder.path(), &config), other.join().unwrap()]
            });
            for one in both {
                let in_use = matches!(one, Err(StartError::Media(MediaOpenError::InUse { .. })));
                assert!(in_use || one.is_ok(), "{one:?}");
            }
        }
    }
}
