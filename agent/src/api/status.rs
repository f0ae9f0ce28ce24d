//! What a person wants to know of a node, as `GET /v1/status` tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::consumers::ConsumerStatus;

/// A node at one moment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// Its name.
    pub site: String,
    /// Version of the program.
    pub version: String,
    /// Id of its journal, 16 hexadecimal digits.
    pub log_id: String,
    /// Epoch of its journal, 16 hexadecimal digits.
    pub epoch: String,
    /// The clock when this was said, milliseconds since 1970.
    pub now_ms: i64,
    /// How far that clock can be trusted.
    #[serde(default)]
    pub clock: ClockStatus,
    /// Its lanes, highest priority first.
    pub lanes: Vec<LaneStatus>,
    /// The way upstream; none at a root.
    pub link: Option<LinkStatus>,
    /// The topics that come down from the node above, by name.
    #[serde(default)]
    pub subscriptions: Vec<SubscriptionStatus>,
    /// What it holds.
    pub streams: StreamsSummary,
    /// Streams with two continuations.
    pub forks: Vec<ForkStatus>,
    /// Records that are missing here for good.
    pub gaps: Vec<GapStatus>,
    /// What a person should act on.
    pub alarms: Vec<Alarm>,
    /// Nodes that dial this one.
    pub sites: Vec<SiteStatus>,
    /// What peers did that they must not, by name, and how often since the node started.
    pub offences: BTreeMap<String, u64>,
    /// Its views, by name.
    #[serde(default)]
    pub views: Vec<ViewStatus>,
    /// Its consumers, by name.
    #[serde(default)]
    pub consumers: Vec<ConsumerStatus>,
    /// What it does to its medium.
    #[serde(default)]
    pub medium: MediumStatus,
    /// The memory it takes.
    #[serde(default)]
    pub memory: MemoryStatus,
}

/// Memory of a node's process.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemoryStatus {
    /// Bytes it may take, as it is configured.
    pub cap_bytes: Option<u64>,
    /// Bytes of heap and stacks; none where the system does not tell.
    pub used_bytes: Option<u64>,
    /// Bytes in memory, with those of the program's file.
    pub resident_bytes: Option<u64>,
    /// The most that was ever resident.
    pub peak_bytes: Option<u64>,
}

/// What a node does to its medium. Nothing here knows what a file system writes for itself, nor how
/// often a card copies what it was given.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediumStatus {
    /// Bytes that the log was written with since the start: all lanes, the node's own records and
    /// checkpoints.
    pub written_bytes: u64,
    /// Bytes of the records that were appended, or came from other nodes.
    pub payload_bytes: u64,
    /// Bytes that the process wrote to any file since it started, with views, as the system counts
    /// them: in pages, of which it touches large ones as a whole. At least those of the log.
    pub process_bytes: u64,
    /// Bytes over the node's life, as far as they were noted: those of the log, or of the process
    /// if it keeps views.
    pub life_bytes: u64,
    /// What the medium bears, as it is configured.
    pub bears_bytes: Option<u64>,
    /// Days until it has borne that, at the rate since the start; none in the first ten minutes.
    pub days_left: Option<u64>,
}

/// The clock of a node's machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClockStatus {
    /// Whether somebody has set it since the machine started.
    pub set: bool,
    /// How many milliseconds it is behind the clock of the node above; less than 0 if it is ahead,
    /// and none if that has not said its time since the machine started.
    pub behind_ms: Option<i64>,
    /// By how many milliseconds that may be wrong to either side.
    pub error_ms: Option<u32>,
}

impl Default for ClockStatus {
    /// A clock of which nothing is wrong as far as is known.
    fn default() -> Self {
        Self { set: true, behind_ms: None, error_ms: None }
    }
}

/// A view.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its name.
    pub view: String,
    /// The topics that it follows.
    pub topics: Vec<String>,
    /// Which making of its rows this is, counted from 1.
    pub generation: u64,
    /// How it is.
    pub state: ViewState,
    /// Why, if it does not run, or what else is wrong.
    pub reason: Option<String>,
    /// The commit of this node's log that its rows are of.
    pub commit: u64,
    /// Commits that it has not seen; none if they hold nothing for it.
    pub behind_commits: u64,
    /// Whether it had seen all when it looked last.
    pub caught_up: bool,
    /// Records that its statements took.
    pub records: u64,
    /// Records that they refused; `_errors` in the file tells which, and they are dead letters.
    pub errors: u64,
    /// Records of its lanes, of whatever topic, that the log had forgotten before it came to them.
    pub lacking: u64,
    /// The topics that it derives.
    pub derives: Vec<String>,
    /// Records that this generation has derived.
    pub derived: u64,
    /// Those of them that are not yet known to be durable.
    pub outbox: u64,
    /// A generation that is built to replace this one.
    pub next: Option<NextGeneration>,
}

/// How a view is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ViewState {
    /// It follows its topics.
    Running,
    /// Its definition can't be used.
    Failed,
    /// It stopped in front of a record that its statements refuse.
    Halted,
    /// The disk refused; it is tried again.
    Waiting,
}

/// A generation of a view that is built beside the one that is read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NextGeneration {
    /// Its number.
    pub generation: u64,
    /// The commit that it has come to.
    pub commit: u64,
    /// Records that its statements took.
    pub records: u64,
    /// Why it does not go on, if it does not.
    pub reason: Option<String>,
}

/// One lane.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LaneStatus {
    /// Its name.
    pub name: String,
    /// Seq of the record to come.
    pub next_seq: u64,
    /// All below it is durable at the next node, or here at a root.
    pub durable_seq: u64,
    /// All below it is durable at the root.
    pub root_seq: u64,
    /// Records that are not yet durable at the root.
    pub behind_records: u64,
    /// Their bytes as stored.
    pub behind_bytes: u64,
    /// Bytes it may take on disk.
    pub budget_bytes: u64,
    /// Bytes it takes on disk.
    pub used_bytes: u64,
    /// Bytes that were written for it since the start, with all that is around records.
    #[serde(default)]
    pub written_bytes: u64,
    /// Bytes of the records among them: keys, values and headers, with timestamps and lengths.
    #[serde(default)]
    pub payload_bytes: u64,
    /// What it does when it is full: `reject` or `drop_oldest`.
    pub on_full: String,
}

/// The way upstream.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LinkStatus {
    /// How it is.
    pub state: LinkState,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Why, in words.
    pub why: String,
    /// The address in use or tried last.
    pub address: Option<String>,
    /// `quic` or `tls`.
    pub carrier: Option<String>,
    /// Attempts since it was up last.
    pub attempts: u64,
}

/// How a link is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkState {
    /// Being tried.
    Connecting,
    /// Up, with records to bring on.
    CatchingUp,
    /// Up, with everything durable at the root.
    Synced,
    /// Down until the next attempt.
    Waiting,
    /// Hung up, since everything is durable at the root and the link is metered.
    Resting,
    /// The hub does not let this node in; it is tried again, but a person must act.
    Refused,
}

/// A topic that comes down from the node above.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SubscriptionStatus {
    /// The topic.
    pub topic: String,
    /// How it stands.
    pub state: SubscriptionState,
    /// Why, if the node above does not send it.
    pub why: Option<String>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubscriptionState {
    /// The link is down.
    Offline,
    /// It was asked for, and is coming.
    Coming,
    /// All that there was when the link came up is here, and what is new follows.
    Level,
    /// Its lane is full; it waits at the node above.
    NoRoom,
    /// The node above does not send it.
    Refused,
}

/// What a node holds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StreamsSummary {
    /// Streams of its own.
    pub own: u64,
    /// Streams of other sites.
    pub others: u64,
    /// Topics.
    pub topics: u64,
    /// Records.
    pub records: u64,
}

/// A stream with two continuations, both kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ForkStatus {
    /// The stream, as `ship-17/ais/0`.
    pub stream: String,
    /// The first offset at which they differ, or the latest that is known to be equal.
    pub offset: u64,
    /// First epochs of the branches, hexadecimal.
    pub branches: Vec<String>,
    /// What it looks like: `tail lost`, `copy`, …
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Records that are missing for good.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GapStatus {
    /// The stream, as `ship-17/ais/0`.
    pub stream: String,
    /// The first that is missing.
    pub from: u64,
    /// The first that is there again.
    pub to: u64,
    /// Why.
    pub why: String,
}

/// What a person should act on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alarm {
    /// What is wrong.
    pub what: String,
    /// Where.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do.
    pub hint: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

/// A node that is registered at this one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SiteStatus {
    /// Its name.
    pub site: String,
    /// `connected`, `away`, `revoked`, …
    pub state: String,
    /// When it was heard of last, milliseconds since 1970.
    pub last_contact_ms: Option<i64>,
    /// Version of its program.
    pub version: Option<String>,
    /// Records it had not yet brought when it was heard of last.
    pub behind_records: Option<u64>,
    /// Their bytes as stored, about.
    pub behind_bytes: Option<u64>,
    /// Timestamp of the oldest of them, milliseconds since 1970.
    pub oldest_unsent_ms: Option<i64>,
    /// When its first lane will be full if it goes on appending as it did and brings nothing,
    /// milliseconds since 1970.
    pub full_at_ms: Option<i64>,
    /// What is wrong with it, such as `copy`.
    pub alarms: Vec<String>,
}

/// A token that lets a site enrol.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TokenGrant {
    /// The token; whoever has it can enrol.
    pub token: String,
    /// The site, or pattern, that it is for.
    pub site: String,
    /// How many may use it.
    pub uses: u32,
    /// When it expires, milliseconds since 1970.
    pub expires_ms: i64,
}
