//! The play, act by act.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::Value;

use super::chart::{Chart, Shown};
use super::comparison::{self, Outcome};
use super::process::{Node, PATIENCE_MS};
use super::sample::{ATTRIBUTION, Sample};
use super::stage::{Stage, copy_folder};
use super::{Plan, Voice};
use crate::api::{Alarm, LinkState, Status};
use crate::quantity::{ByteSize, count_text};

pub(super) const TOPIC: &str = "ais";
const QUERY: &str = "key_field=mmsi&time_field=time";
/// Lines that are recorded before the copy is taken.
const BEFORE_COPY: usize = 500;
/// Lines that the copy, and then the ship, record once both run.
const AFTERWARDS: usize = 10;

/// Plays all acts. The error says what did not happen as it should.
pub(super) async fn play(
    mut stage: Stage,
    plan: &Plan,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    let sample = Sample::unpack();
    voice.plain("Landfall: a ship goes offline and comes back.\n");
    voice.plain(ATTRIBUTION);
    voice.plain("");
    open(&mut stage, voice).await?;
    record_offline(&stage, &sample, voice).await?;
    catch_up(&mut stage, plan, &sample, voice).await?;
    meet_the_copy(&mut stage, &sample, voice).await?;
    let wire = stage.wire_bytes();
    let outcome = compare(&mut stage, &sample, voice).await?;
    conclude(&outcome, wire, &sample, voice)
}

async fn open(stage: &mut Stage, voice: &mut Voice<'_, impl Write>) -> Result<(), String> {
    let listen = stage.hub_address.to_string();
    let advertise = stage.relay.address().to_string();
    let words = ["init", "--site", "hub", "--listen", &listen, "--advertise", &advertise];
    stage.hub.command(&words).await?;
    Chart::define(&stage.hub.data)?;
    stage.hub.start().await?;
    let token = stage.hub.command(&["token", "ship-17"]).await?;
    let path = stage.folder.join("token");
    std::fs::write(&path, token).map_err(|error| format!("{}: {error}", path.display()))?;
    stage.ship.command(&["init", "--join", &format!("@{}", path.display())]).await?;
    voice.say("A hub runs on shore. A ship has a token for it and has never spoken to it.");
    voice.add(&format!("Both are in {}", stage.folder.display()));
    Ok(())
}

async fn record_offline(
    stage: &Stage,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    append_offline(stage, &stage.ship, sample.lines(0..BEFORE_COPY)).await?;
    voice.say(&format!(
        "At sea, without a link, the ship records {BEFORE_COPY} positions. Each is on its disk\n\
         before it is acknowledged. Somebody takes an image of that disk."
    ));
    copy_folder(&stage.ship.data, &stage.copy.data)
        .map_err(|error| format!("the ship's folder can't be copied: {error}"))?;
    append_offline(stage, &stage.ship, sample.lines(BEFORE_COPY..sample.count())).await?;
    voice.say(&format!(
        "The ship records on: {} positions wait on board, {} of JSON.",
        count_text(sample.count() as u64),
        ByteSize(sample.bytes())
    ));
    Ok(())
}

/// Appends by the command, as a script on board would.
pub(super) async fn append_offline(stage: &Stage, node: &Node, lines: &str) -> Result<(), String> {
    let path = stage.folder.join("lines");
    std::fs::write(&path, lines).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.display().to_string();
    let words = ["append", TOPIC, &path, "--key-field", "mmsi", "--time-field", "time"];
    node.command(&words).await.map(|_| ())
}

async fn catch_up(
    stage: &mut Stage,
    plan: &Plan,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    stage.relay.set_up(true);
    stage.ship.start().await?;
    voice.say(&format!(
        "The link comes up: {} kbit/s, {} ms there and back. The ship catches up.",
        plan.rate.0.get() / 1_000,
        plan.round_trip.as_millis()
    ));
    let total = sample.count() as u64;
    let mut chart = Chart::follow(stage.hub.client.clone());
    let Stage { hub, relay, .. } = &mut *stage;
    let wire = || relay.bytes_to_target() + relay.bytes_to_dialer();
    let mut show = |status: &Status| {
        let done = status.streams.records;
        let seen = count_text(chart.shown().vessels);
        let wire = ByteSize(wire());
        let what =
            format!("{} durable at the hub, {seen} vessels in its view, {wire}", count_text(done));
        voice.draw(done, total, &what);
        done
    };
    hub.until("has half of the records", |status| show(status) > total / 2).await?;
    hub.kill();
    let told = promised(&stage.ship.until("answers", |_| true).await?);
    say_what_is_shown(&chart, voice);
    voice.say("Past half, the hub is killed (SIGKILL): no goodbye, nothing flushed.");
    let held = stage.hub.start().await?.streams.records;
    if held < told {
        return Err(format!("the hub promised {told} records and has {held} after its start"));
    }
    voice.say(&format!(
        "The hub runs again and has {} records: all {} that it had promised. The ship goes on.",
        count_text(held),
        count_text(told)
    ));
    let mut show = |status: &Status| {
        let done = promised(status);
        let seen = count_text(chart.shown().vessels);
        let what = format!("{} durable at the hub, {seen} vessels in its view", count_text(done));
        voice.draw(done, total, &what);
        done
    };
    let synced = |status: &Status| is_synced(status);
    stage.ship.until("has caught up", |status| show(status) >= total && synced(status)).await?;
    let wire = stage.wire_bytes();
    voice.say(&format!(
        "All {} records are durable at the hub. On the wire: {}, {} % of the JSON,\n\
         with everything that the crash made the ship send twice.",
        count_text(total),
        ByteSize(wire),
        wire * 100 / sample.bytes()
    ));
    let vessels = vessels(sample);
    let seen = chart.has(vessels, Duration::from_millis(PATIENCE_MS)).await?;
    voice.say(&format!(
        "The view has all {} vessels; it answered {} times.",
        count_text(vessels),
        count_text(seen.changes)
    ));
    Ok(())
}

fn say_what_is_shown(chart: &Chart, voice: &mut Voice<'_, impl Write>) {
    let Shown { vessels, knots, changes } = chart.shown();
    voice.say(&format!(
        "On shore, a view of the hub is asked once and answers whenever it changes: {} vessels by\n\
         now, the fastest at {knots} knots, after {} answers.",
        count_text(vessels),
        count_text(changes)
    ));
}

/// How many vessels are in the sample.
fn vessels(sample: &Sample) -> u64 {
    let lines = sample.lines(0..sample.count()).lines();
    let vessel = |line: &str| Some(serde_json::from_str::<Value>(line).ok()?["mmsi"].to_string());
    lines.filter_map(vessel).collect::<BTreeSet<_>>().len() as u64
}

async fn meet_the_copy(
    stage: &mut Stage,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    append_offline(stage, &stage.copy, sample.lines(0..AFTERWARDS)).await?;
    // In the office, where the link is fast; so it does not delay the ship.
    stage.copy.dial(&stage.hub_address.to_string());
    stage.copy.start().await?;
    voice.say(&format!(
        "In an office on shore, the image is started: same name, same key, and {AFTERWARDS}\n\
         records of its own in the same stream, at offsets that the ship has used too."
    ));
    let noticed = |status: &Status| noticed(status).is_some();
    for node in [&mut stage.hub, &mut stage.ship, &mut stage.copy] {
        let status = node.until("notices the copy", noticed).await?;
        if let Some(alarm) = self::noticed(&status) {
            voice.say(&format!("{} notices: {} ({})", node.name, alarm.what, alarm.place));
        }
    }
    append(&stage.ship, sample.lines(0..AFTERWARDS)).await?;
    for node in [&mut stage.ship, &mut stage.copy] {
        node.until("has been served", is_synced).await?;
    }
    voice.say("Both are served: each branch is kept, nothing is overwritten or dropped.");
    Ok(())
}

/// Appends to a node that runs.
async fn append(node: &Node, lines: &str) -> Result<(), String> {
    let failed = |error| format!("{} does not take records: {error}", node.name);
    let body = Full::new(Bytes::copy_from_slice(lines.as_bytes()));
    let mut answer = node.client.append(TOPIC, QUERY, body).await.map_err(failed)?;
    while answer.next().await.map_err(failed)?.is_some() {}
    Ok(())
}

async fn compare(
    stage: &mut Stage,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<Outcome, String> {
    let lines = [sample.lines(0..sample.count()), sample.lines(0..AFTERWARDS)].concat();
    let comparison::Compared { records, ship_epochs } =
        comparison::by_record(stage, &lines).await?;
    voice.say(&format!(
        "Read from all three and compared, record by record: {} equal.",
        count_text(records)
    ));
    let Stage { hub, ship, copy, .. } = &mut *stage;
    // Each says goodbye and waits a little for the other end to hear it.
    tokio::try_join!(ship.stop(), copy.stop(), hub.stop())?;
    let hashes = comparison::by_hash(stage, &ship_epochs)?;
    voice.say(&format!(
        "Stopped, and every checksum and hash of all three stores computed anew: {hashes} branches \
         agree."
    ));
    Ok(Outcome { records, hashes })
}

fn conclude(
    outcome: &Outcome,
    wire: u64,
    sample: &Sample,
    voice: &mut Voice<'_, impl Write>,
) -> Result<(), String> {
    let taken = voice.taken_ms();
    let mut line = |name: &str, what: String| voice.plain(&format!("  {name:<18}{what}"));
    line("", String::new());
    line("records", format!("{}, each exactly once", count_text(outcome.records)));
    line("stream hashes", format!("{} of {0} agree", outcome.hashes));
    line(
        "on the wire",
        format!(
            "{} both ways, all included; the JSON alone is {}",
            ByteSize(wire),
            ByteSize(sample.bytes())
        ),
    );
    line("time", format!("{}.{} s", taken / 1_000, taken % 1_000 / 100));
    Ok(())
}

/// Records that the hub has promised to keep.
fn promised(status: &Status) -> u64 {
    status.lanes.iter().map(|lane| lane.root_seq).sum()
}

pub(super) fn is_synced(status: &Status) -> bool {
    let up = status.link.as_ref().is_some_and(|link| link.state == LinkState::Synced);
    up && status.lanes.iter().all(|lane| lane.behind_records == 0)
}

/// The alarm about a copy.
fn noticed(status: &Status) -> Option<&Alarm> {
    status.alarms.iter().find(|alarm| alarm.what == "copy")
}
