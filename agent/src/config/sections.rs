//! Every section of the configuration: what can be set, by default to what, and what it costs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::file::{ConfigFile, Scope};
use super::setting::{Allowed, REQUIRED, Setting, section};
use super::value::{HostPort, Raw, Value, words};
use crate::quantity::ByteSize;

section! {
    /// Who the node is and whom it serves. These keys stand at the top of the file.
    struct Node in "", listed: false;

    /// The unique name of this node. `none` takes the name from the identity that `landfall init`
    /// made.
    site: Option<String> = "none",
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 63");
    low "a name that says nothing makes coordinates hard to read.";
    high "long names cost bytes in every message.";

    /// Address to accept other nodes on, UDP and TCP. `none`: the node only dials. Port 4520 if
    /// none is given.
    listen: Option<SocketAddr> = "none",
        Allowed::Text("an IP address with an optional port, such as `[::]:4520`");
    low "without it no node can dial this one.";
    high "an address that everybody reaches is attacked by everybody; only registered keys get in.";

    /// Addresses that enrolment tokens give to other nodes. Empty: the address listened on.
    advertise: Vec<HostPort> = "", Allowed::Text("a list of `host:port`");
    low "behind NAT, a token names an address that nobody outside reaches.";
    high "each address that does not answer costs a dialling node time.";

    /// Windows and buffers: `device` keeps memory small, `hub` serves many nodes at full rate.
    profile: Profile = "device", Allowed::Word(Profile::WORDS);
    low "`device` at a centre: slower catch-up over long links.";
    high "`hub` on a device: tens of MiB more memory.";

    /// Memory that the node may take. Its queues, windows, caches and SQLite share what the program
    /// itself leaves of it, and stay below; whoever needs more waits, or is refused.
    /// [devices.md](devices.md#memory) says who has how much. `none`: each has its own bounds.
    memory_max: Option<ByteSize> = "none", Allowed::Size("20MiB", "1024GiB");
    low "lower rates, fewer programs and queries at a time; too little for the rest is refused.";
    high "a system that has less ends the node when it takes it.";

    /// Whether the first record of a topic creates it.
    create_topics: bool = "true", Allowed::Bool;
    low "`false`: every topic needs a `[[topic]]` entry, or its records are refused.";
    high "`true`: a misspelt topic name makes a new topic.";
}

section! {
    /// The nodes that this one dials to bring its records on.
    struct Upstream in "upstream", listed: false;

    /// Addresses of one hub, tried in order. Empty: this node is a root.
    addresses: Vec<HostPort> = "", Allowed::Text("a list of `host` or `host:port`");
    low "one address is one way to be cut off.";
    high "each address that does not answer delays the next.";

    /// Fingerprints of hub keys to trust besides those learned by enrolment.
    keys: Vec<String> = "", Allowed::Text("a list of key fingerprints");
    low "a hub whose key is neither here nor learned is refused.";
    high "each key more is one more that must not leak.";

    /// What lets this node forget records: durable at the `root`, or at the next `hop`.
    trim_at: TrimAt = "root", Allowed::Word(TrimAt::WORDS);
    low "`hop`: a gateway that dies takes with it what only it had.";
    high "`root`: the disk must hold what the whole chain has not passed on.";

    /// Longest pause between two attempts to reach the hub.
    backoff_max: Duration = "60s", Allowed::Duration("1s", "1h");
    low "a dead link costs radio time and bytes.";
    high "a link that comes back is noticed late.";

    /// For metered links: hang up 5 s after everything is durable at the root, and dial again when
    /// there is something to send, or after so long (or up to a quarter less). `none`: stay
    /// connected.
    visit_every: Option<Duration> = "none", Allowed::Duration("1m", "30d");
    low "each visit costs some 11 KB: `4h` stays below 100 KB a day, `1m` costs 16 MB.";
    high "revocation, and whatever the hub has for this node, is learned that much later.";

    /// How long QUIC may take to answer before TLS on TCP is tried beside it.
    tcp_fallback_delay: Duration = "3s", Allowed::Duration("100ms", "5m");
    low "slow links fall back to TCP without need.";
    high "where UDP is blocked, each connection starts this much later.";

    /// Round trip to assume before one was measured.
    initial_rtt: Duration = "333ms", Allowed::Duration("1ms", "10s");
    low "over a satellite, handshakes are sent twice.";
    high "on a lossy short link, the first loss is noticed late.";

    /// Bytes of records a second to send at most. Lanes that go before `normal` are not held up by
    /// it, but counted. `none`: what the link carries.
    rate_bytes_max: Option<ByteSize> = "none", Allowed::Size("1KiB", "100GiB");
    low "catching up takes longer than the link is there.";
    high "other users of the link get less.";
}

section! {
    /// How records are stored and for how long.
    struct Storage in "storage", listed: false;

    /// Size of a segment file. Disk space is taken and given back in whole segments.
    segment_bytes: ByteSize = "16MiB", Allowed::Size("512KiB", "1GiB");
    low "many files and footers; opening takes longer.";
    high "space comes back late, and each lane takes at least two segments.";

    /// Whether the medium writes 512 bytes whole or not at all when power fails; otherwise 4096 is
    /// assumed.
    powersafe: bool = "false", Allowed::Bool;
    low "`false` where it is true: a lone small commit costs 4 KiB of flash.";
    high "`true` where it is not: a power cut can damage records acknowledged before.";

    /// Bytes that may be written to the medium in its life, as its maker states them (often as
    /// TBW). `landfall status` then estimates how long it lasts; nothing else follows. `none`: it
    /// is not known.
    medium_writes_max: Option<ByteSize> = "none", Allowed::Size("1GiB", "1048576GiB");
    low "the medium is replaced before it has to be.";
    high "it wears out before anybody expects it.";

    /// Most bytes of records synced together.
    commit_bytes_max: ByteSize = "4MiB", Allowed::Size("256KiB", "4MiB");
    low "more syncs, so a lower rate.";
    high "on a slow medium each sync, and so each acknowledgement, takes longer.";

    /// How long records are kept once they are durable at the root (at the next hop if
    /// `upstream.trim_at` says so), within the lane's budget. Only time in which the node runs
    /// counts: no clock that is set makes records old.
    keep_acked: Duration = "24h", Allowed::Duration("0s", "3650d");
    low "a centre restored from an older backup cannot be refilled.";
    high "the budget fills with what others hold too.";

    /// How long records are kept that go nowhere else from here: at a root all of them, elsewhere
    /// those of topics that are not replicated or come down. It counts like `keep_acked`; records
    /// in one segment go together, by the longer of the two. `none`: until the lane's budget is
    /// needed.
    retention: Option<Duration> = "none", Allowed::Duration("1m", "3650d");
    low "records are gone for good before anybody has read them.";
    high "the budget decides, as with `none`.";

    /// Bytes of a lane up to which records outstay their time for consumers and views that lack
    /// them.
    hold_max: ByteSize = "256MiB", Allowed::Size("0B", "1048576GiB");
    low "a consumer that is away for long misses records, and a view that halts: with an alarm.";
    high "a consumer that never comes back fills the lane up to its budget.";
}

section! {
    /// A priority class with its own segments. The lanes `normal` (priority 0) and `urgent`
    /// (priority 10) exist unless lanes are listed. A lane with records is not removed or renamed.
    struct Lane in "lane", listed: true;

    /// Its name.
    name: String = REQUIRED, Allowed::Text("a name of letters, digits, `.`, `_` and `-`");
    low "a name cannot be left out.";
    high "long names cost bytes in every status.";

    /// Lanes with higher numbers are sent first; no two lanes have the same.
    priority: u8 = REQUIRED, Allowed::Count(0, 255);
    low "its records wait for those of all other lanes.";
    high "its records hold up those of all other lanes.";

    /// Disk space for its records.
    budget_bytes: ByteSize = "1GiB", Allowed::Size("1MiB", "1048576GiB");
    low "full sooner while offline.";
    high "must be free on the disk together with the other budgets, or the disk is full first.";

    /// What happens when the budget is full of records that are not yet durable at the root:
    /// `reject` refuses new ones, `drop_oldest` drops a segment of old ones and says so.
    on_full: OnFull = "reject", Allowed::Word(OnFull::WORDS);
    low "`reject`: producers get errors and must keep their records.";
    high "`drop_oldest`: the oldest records are lost, as a gap.";

    /// How long an append may wait for others that are synced with it, up to 256 KiB of them. It is
    /// acknowledged when it is synced, as always; what comes from other nodes does not wait.
    commit_every: Duration = "0s", Allowed::Duration("0s", "1m");
    low "each lone append costs a sync and 4 KiB of the medium (512 bytes if it is `powersafe`).";
    high "each append is acknowledged, sent on and seen by readers that much later.";
}

section! {
    /// A topic whose settings differ from the defaults.
    struct Topic in "topic", listed: true;

    /// Its name.
    name: String = REQUIRED,
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 127");
    low "a name cannot be left out.";
    high "long names cost bytes in every batch.";

    /// The lane its records go to. It holds for ever from the first record on.
    lane: String = "normal", Allowed::Text("the name of a lane");
    low "in a lane of low priority it waits for others.";
    high "in a lane of high priority it holds up others.";

    /// Number of its partitions; records with equal keys share one.
    partitions: u32 = "1", Allowed::Count(1, 1024);
    low "readers cannot share the work.";
    high "each partition costs memory and bytes in every frontier.";

    /// Names of the applications that may write it through the API. Empty: all programs may.
    writers: Vec<String> = "", Allowed::Text("a list of names of `[[application]]`");
    low "any program may write what only one should.";
    high "what two write has no single order that one of them decides.";

    /// Whether its records go upstream `always` or `never`, or come `down` from there. The node
    /// above must let this one subscribe to what comes down, and nothing here can write it.
    replicate: Replicate = "always", Allowed::Word(Replicate::WORDS);
    low "`never`: the records are lost with this node.";
    high "`always` and `down`: they cost bytes on the link.";
}

section! {
    /// A program on this machine, told from others by its user or its token, so that topics may
    /// name it in `writers`.
    struct Application in "application", listed: true;

    /// Its name.
    name: String = REQUIRED,
        Allowed::Text("a name of letters, digits, `.`, `_` and `-`, at most 63");
    low "a name cannot be left out.";
    high "a name that says nothing makes refusals hard to read.";

    /// The number of the user that it runs as, for those that come over the socket. `none`: it
    /// shows its token.
    user: Option<u32> = "none", Allowed::Count(0, 4_294_967_295);
    low "0 is root, as which many programs may run.";
    high "a number that no user has stands for nobody.";

    /// File with its token, made when it is missing. With it the program reaches the API over TCP,
    /// too, but for what operators do. `none`: it has none.
    token_file: Option<PathBuf> = "none", Allowed::Text("a path");
    low "a token that nobody can read is of no use.";
    high "whoever can read it can write as this application.";
}

section! {
    /// A serial line on which devices without a network speak, each with a key of its own.
    /// [devices.md](devices.md) describes their end. Either `port` or `tcp` says where it is.
    struct Serial in "serial", listed: true;

    /// Path of the port. It is used whenever it is there. `none`: the line is at `tcp`.
    port: Option<PathBuf> = "none", Allowed::Text("a path, such as `/dev/ttyUSB0`");
    low "a path that another adapter may get; `/dev/serial/by-id/` names them for good.";
    high "a port that another program uses as well.";

    /// The port's rate in bits a second: 8 bits, no parity, one stop bit.
    baud: u32 = "115200", Allowed::Count(9_600, 4_000_000);
    low "a device takes long to catch up: a tenth of it in bytes a second, less a fifth.";
    high "long or bad wires damage frames, which then have to be repeated.";

    /// Loopback address where an emulator or a program that reads a port somewhere else connects,
    /// and brings the line's bytes. `none`: the line is at `port`.
    tcp: Option<SocketAddr> = "none",
        Allowed::Text("a loopback address and port, such as `127.0.0.1:4530`");
    low "every user of the machine can connect, and needs a key.";
    high "a second program that connects is another line.";

    /// File with a line for each device: its site, a space, and its key of 64 hexadecimal digits,
    /// such as `openssl rand -hex 32` prints. Only its owner may read it. It is read at the start.
    keys_file: PathBuf = REQUIRED, Allowed::Text("a path");
    low "a device without a key in it is refused.";
    high "whoever can read it can speak for these devices.";
}

section! {
    /// Where programs on this machine reach the node.
    struct Api in "api", listed: false;

    /// Path of the Unix socket. `none`: `landfall.sock` in the data directory.
    socket: Option<PathBuf> = "none", Allowed::Text("a path of at most 107 bytes");
    low "a path that is too long for the system (107 bytes) cannot be bound.";
    high "in a directory that others may write, they can take its place.";

    /// Who can open the socket: its `owner` and root, the owner's `group`, or `all` users of the
    /// machine. Others than the owner and root do not do what operators do.
    socket_for: SocketFor = "owner", Allowed::Word(SocketFor::WORDS);
    low "`owner`: programs of other users need TCP and a token.";
    high "`all`: every user of the machine can read, ask, and write topics without `writers`.";

    /// Loopback address to serve over TCP too, to holders of the token. `none`: no TCP.
    tcp: Option<SocketAddr> = "none",
        Allowed::Text("a loopback address and port, such as `127.0.0.1:4521`");
    low "containers without the socket have no way in.";
    high "every user of the machine can try tokens.";

    /// File with the token for TCP, made when it is missing. `none`: `api.token` in the data
    /// directory.
    token_file: Option<PathBuf> = "none", Allowed::Text("a path");
    low "a token that nobody can read is of no use.";
    high "whoever can read it can do everything that the API can.";

    /// Connections served at a time; more are refused with status 503.
    connections_max: u32 = "64", Allowed::Count(1, 4096);
    low "followers and producers refuse each other.";
    high "each connection that sends or reads at full rate takes up to 2 MiB.";
}

section! {
    /// What the node logs on standard error.
    struct Log in "log", listed: false;

    /// Least level to log.
    level: LogLevel = "info", Allowed::Word(LogLevel::WORDS);
    low "`off` and `error` hide what a person should know by tomorrow.";
    high "`debug` and `trace` slow the node down and fill journals.";

    /// Lines for people (`text`) or for machines (`json`).
    format: LogFormat = "text", Allowed::Word(LogFormat::WORDS);
    low "`text` is hard to search by field.";
    high "`json` is hard to read.";
}

section! {
    /// What a node that listens allows to those that dial it.
    struct Hub in "hub", listed: false;

    /// Connections of nodes at a time.
    connections_max: u32 = "10000", Allowed::Count(1, 1_000_000);
    low "nodes are refused and come back later.";
    high "an idle one costs about 40 KB.";

    /// Handshakes under way at a time; more wait for a retry that proves their address.
    handshakes_max: u32 = "256", Allowed::Count(1, 65_536);
    low "a returning fleet is served more slowly.";
    high "a flood of strangers costs more processor and memory.";

    /// How long a handshake may take.
    handshake_timeout: Duration = "15s", Allowed::Duration("1s", "2m");
    low "nodes behind bad links never get in.";
    high "strangers hold places longer.";

    /// How long a connection may be silent before it counts as lost. Below 40 s, set the same at
    /// the nodes that dial: they say something every third of their own, or every 25 s.
    idle_timeout: Duration = "90s", Allowed::Duration("5s", "1h");
    low "idle nodes must send more keep-alives, or are cut off between two of them.";
    high "a node that vanished is seen as connected for longer.";
}

words! {
    /// Which windows and buffers a node uses.
    enum Profile {
        /// Small memory, one thread for the network.
        Device = "device",
        /// Large windows, all processors.
        Hub = "hub",
    }
}

words! {
    /// Who can open the API's socket.
    enum SocketFor {
        /// The node's own user.
        Owner = "owner",
        /// Its group, too.
        Group = "group",
        /// All users of the machine.
        All = "all",
    }
}

words! {
    /// What lets a node forget records.
    enum TrimAt {
        /// They are durable at the root.
        Root = "root",
        /// They are durable at the next node.
        Hop = "hop",
    }
}

words! {
    /// What a full lane does.
    enum OnFull {
        /// It refuses new records.
        Reject = "reject",
        /// It drops its oldest segment, and says so in the log.
        DropOldest = "drop_oldest",
    }
}

words! {
    /// Whether a topic's records go upstream.
    enum Replicate {
        /// Always.
        Always = "always",
        /// Never.
        Never = "never",
        /// They come from there.
        Down = "down",
    }
}

words! {
    /// The least level that is logged; `logging` says what each means.
    enum LogLevel {
        /// Nothing.
        Off = "off",
        /// A person must act.
        Error = "error",
        /// A person may want to know by tomorrow.
        Warn = "warn",
        /// Changes of state.
        Info = "info",
        /// Decisions.
        Debug = "debug",
        /// Messages.
        Trace = "trace",
    }
}

words! {
    /// What log lines look like.
    enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// The lanes as written, or the two that are there by default; highest priority first.
pub(super) fn lanes(file: &ConfigFile) -> Result<Vec<Lane>, ConfigError> {
    let lane = |name: &str, priority, mebibytes: u64| Lane {
        name: name.to_owned(),
        priority,
        budget_bytes: ByteSize(mebibytes << 20),
        on_full: OnFull::Reject,
        commit_every: Duration::ZERO,
    };
    let mut lanes = match file.lanes() {
        Some(scopes) => scopes.iter().map(Lane::read).collect::<Result<_, _>>()?,
        None => vec![lane("normal", 0, 1024), lane("urgent", 10, 64)],
    };
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.priority));
    Ok(lanes)
}
