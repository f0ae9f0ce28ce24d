//! `landfall status`: how a node is, for people and for machines.

use std::io::Write;
use std::time::Duration;

use landfall_protocol::clock::APART_MS_MAX;

use super::arguments::{Arguments, Stop};
use super::node::flag;
use super::sites::sites_table;
use super::terminal::{Table, ago};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{
    Client, ClockStatus, LinkState, LinkStatus, MediumStatus, MemoryStatus, Status,
    SubscriptionState, SubscriptionStatus,
};
use crate::quantity::{ByteSize, count_text, counted, duration_text};

pub(super) const HELP: &str = "\
Show how the node is and what to do about it

Usage: landfall status --data DIR [OPTION…]

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --json           Print one JSON object for machines
  --help           Show this
";

/// Options of `landfall status`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatusOptions {
    /// Which node.
    pub node: DataOptions,
    /// Whether machines read it.
    pub json: bool,
}

impl StatusOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let json = flag(arguments, "--json")?;
        Ok(Command::Status(Self { node: arguments.data()?, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// When nothing answers or `out` fails.
pub async fn run(
    options: &StatusOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let status = client.status().await?;
    let text = match options.json {
        true => serde_json::to_string(&status).unwrap_or_default() + "\n",
        false => status_text(&status),
    };
    print_text(out, &text)
}

/// Writes all of a command's text.
pub(crate) fn print_text(out: &mut impl Write, text: &str) -> Result<Exit, Failure> {
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::refused(format!("cannot print: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}

/// The page for people.
#[must_use]
pub fn status_text(status: &Status) -> String {
    let mut text = format!(
        "{}  (landfall {}, log {}, epoch {})\n",
        status.site, status.version, status.log_id, status.epoch
    );
    match &status.link {
        Some(link) => text.push_str(&link_text(link, status.now_ms)),
        None => text.push_str("root: what is durable here is durable at the root\n"),
    }
    text.push_str(&clock_text(&status.clock));
    status.subscriptions.iter().for_each(|of| text.push_str(&subscription_text(of)));
    let streams = &status.streams;
    text.push_str(&format!(
        "{} in {}; {} of its own, {} of other sites\n\n",
        counted(streams.records, "record"),
        counted(streams.topics, "topic"),
        counted(streams.own, "stream"),
        count_text(streams.others)
    ));
    text.push_str(&lanes_table(status));
    text.push_str(&medium_text(&status.medium));
    text.push_str(&memory_text(&status.memory));
    for fork in &status.forks {
        text.push_str(&format!(
            "\nfork: {} at offset {}, branches {}\n  {}\n",
            fork.stream,
            fork.offset,
            fork.branches.join(" and "),
            fork.hint
        ));
    }
    for gap in &status.gaps {
        let last = gap.to.saturating_sub(1);
        text.push_str(&format!("\ngap: {}@{} to @{last}: {}\n", gap.stream, gap.from, gap.why));
    }
    for alarm in &status.alarms {
        let since = ago(alarm.since_ms, status.now_ms);
        let (what, place, hint) = (&alarm.what, &alarm.place, &alarm.hint);
        text.push_str(&format!("\nALARM: {what} ({place}, {since})\n  {hint}\n"));
    }
    if !status.offences.is_empty() {
        let told = status.offences.iter();
        let told: Vec<_> =
            told.map(|(name, count)| format!("{name} {}", count_text(*count))).collect();
        text.push_str(&format!("\noffences of peers: {}\n", told.join(", ")));
    }
    #[cfg(feature = "views")]
    if !status.views.is_empty() {
        text.push('\n');
        text.push_str(&super::view::views_table(&status.views));
    }
    if !status.consumers.is_empty() {
        text.push('\n');
        text.push_str(&super::consumer::consumers_table(&status.consumers));
    }
    if !status.sites.is_empty() {
        text.push('\n');
        text.push_str(&sites_table(&status.sites, status.now_ms));
    }
    text
}

fn link_text(link: &LinkStatus, now_ms: i64) -> String {
    let state = match link.state {
        LinkState::Connecting => "connecting",
        LinkState::CatchingUp => "up, catching up",
        LinkState::Synced => "up, all is durable at the root",
        LinkState::Waiting => "down",
        LinkState::Resting => "resting, all is durable at the root",
        LinkState::Refused => "refused",
    };
    let mut text = format!("link: {state}");
    let seconds = u64::try_from(now_ms - link.since_ms).unwrap_or_default() / 1_000;
    if seconds > 0 {
        text.push_str(&format!(", for {}", duration_text(Duration::from_secs(seconds))));
    }
    if let Some(address) = &link.address {
        text.push_str(&format!(", {address}"));
    }
    if let Some(carrier) = &link.carrier {
        text.push_str(&format!(" by {carrier}"));
    }
    if link.attempts > 1 {
        text.push_str(&format!(", {}", counted(link.attempts, "attempt")));
    }
    if !link.why.is_empty() {
        text.push_str(&format!("\n  {}", link.why));
    }
    text + "\n"
}

/// What is wrong with the clock, if anything is.
fn clock_text(clock: &ClockStatus) -> String {
    let ClockStatus { set, behind_ms, error_ms } = clock;
    let behind = behind_ms.unwrap_or_default();
    let error_ms = error_ms.map(u64::from).unwrap_or_default();
    let apart = behind.unsigned_abs();
    let far = apart > APART_MS_MAX + error_ms;
    let text = |ms| duration_text(Duration::from_millis(ms));
    match (set, behind_ms) {
        (false, None) => {
            "clock: nobody has set it; times are marked until the hub says its own\n".into()
        }
        (_, Some(_)) if far => {
            let than = if behind > 0 { "behind" } else { "ahead of" };
            let (apart, error) = (text(apart), text(error_ms));
            format!(
                "clock: {apart} {than} the hub's, give or take {error}; see `read --corrected`\n"
            )
        }
        _ => String::new(),
    }
}

fn subscription_text(of: &SubscriptionStatus) -> String {
    let state = match of.state {
        SubscriptionState::Offline => "waits for the link",
        SubscriptionState::Coming => "catching up",
        SubscriptionState::Level => "all of it is here",
        SubscriptionState::NoRoom => "waits above, as its lane is full",
        SubscriptionState::Refused => "refused",
    };
    let why = of.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("comes down: {}, {state}{why}\n", of.topic)
}

fn lanes_table(status: &Status) -> String {
    let heads = [
        "lane",
        ">next seq",
        ">next node",
        ">root",
        ">behind",
        ">bytes",
        ">used",
        ">written",
        "when full",
    ];
    let mut table = Table::new(&heads);
    for lane in &status.lanes {
        table.row([
            lane.name.clone(),
            count_text(lane.next_seq),
            count_text(lane.durable_seq),
            count_text(lane.root_seq),
            count_text(lane.behind_records),
            ByteSize(lane.behind_bytes).to_string(),
            format!("{} of {}", ByteSize(lane.used_bytes), ByteSize(lane.budget_bytes)),
            written_text(lane.written_bytes, lane.payload_bytes),
            lane.on_full.clone(),
        ]);
    }
    table.text()
}

/// What was written, and how many bytes that are for each byte of records.
fn written_text(written: u64, payload: u64) -> String {
    let bytes = ByteSize(written);
    match written.saturating_mul(100).checked_div(payload) {
        Some(of) => format!("{bytes}, {}.{:02} a byte", of / 100, of % 100),
        None => bytes.to_string(),
    }
}

fn medium_text(medium: &MediumStatus) -> String {
    let log = written_text(medium.written_bytes, medium.payload_bytes);
    let (process, life) = (ByteSize(medium.process_bytes), ByteSize(medium.life_bytes));
    let mut text = format!(
        "\nwritten since the start: {log} of records in the log, {process} in all; {life} in the \
         node's life\n"
    );
    if let Some(bears) = medium.bears_bytes {
        let left = match medium.days_left {
            Some(days) => format!("{} left at this rate", counted(days, "day")),
            None => "it is too soon to say how long that lasts".into(),
        };
        text.push_str(&format!("  the medium bears {}: {left}\n", ByteSize(bears)));
    }
    text
}

fn memory_text(memory: &MemoryStatus) -> String {
    let MemoryStatus { cap_bytes, used_bytes, resident_bytes, peak_bytes } = *memory;
    let Some(((used, resident), peak)) = used_bytes.zip(resident_bytes).zip(peak_bytes) else {
        return String::new();
    };
    let cap = cap_bytes.map(|cap| format!(" of {}", ByteSize(cap))).unwrap_or_default();
    let (resident, peak) = (ByteSize(resident), ByteSize(peak));
    format!("memory: {}{cap}; {resident} with the program's file, {peak} at most\n", ByteSize(used))
}
