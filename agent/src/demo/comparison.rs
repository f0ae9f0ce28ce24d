//! The proof: what the hub has is what the ship and its copy have, record by record and by hash.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::play::TOPIC;
use super::process::Node;
use super::stage::Stage;
use crate::config::Config;
use crate::daemon::{BranchReport, Inspection};

/// What was found equal.
pub(super) struct Outcome {
    pub(super) records: u64,
    pub(super) hashes: usize,
}

/// What the comparison of records found.
pub(super) struct Compared {
    /// Different records.
    pub(super) records: u64,
    /// The epochs under which the ship wrote.
    pub(super) ship_epochs: BTreeSet<String>,
}

/// The coordinates of a record within the topic.
type Identity = (String, String, u32, u64);

/// A record as the API tells it, without its place at the node that tells.
#[derive(Deserialize)]
struct Line<'a> {
    origin: String,
    epoch: String,
    partition: u32,
    offset: u64,
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow)]
    value: &'a RawValue,
    form: Option<String>,
    #[serde(borrow)]
    headers: &'a RawValue,
}

/// What a record says, besides its coordinates.
#[derive(Eq, PartialEq)]
struct Content {
    value: String,
    rest: String,
}

/// Compares all records of the three nodes, and those of the ship with the lines that were
/// recorded.
pub(super) async fn by_record(stage: &Stage, lines: &str) -> Result<Compared, String> {
    let hub = read(&stage.hub).await?;
    let ship = read(&stage.ship).await?;
    let copy = read(&stage.copy).await?;
    let mut values: Vec<&str> = ship.values().map(|content| content.value.as_str()).collect();
    let mut recorded: Vec<&str> = lines.lines().collect();
    values.sort_unstable();
    recorded.sort_unstable();
    if values != recorded {
        return Err(format!(
            "the ship recorded {} lines and has {} records, which are not those lines",
            recorded.len(),
            values.len()
        ));
    }
    for (name, held) in [("the ship", &ship), ("the copy", &copy)] {
        let differs = held.iter().find(|(identity, content)| hub.get(*identity) != Some(*content));
        if let Some(((origin, epoch, partition, offset), _)) = differs {
            return Err(format!(
                "the hub lacks or differs in {origin}/{TOPIC}/{partition}@{offset}~{epoch}, which \
                 {name} has"
            ));
        }
    }
    let strange =
        hub.keys().find(|identity| !ship.contains_key(*identity) && !copy.contains_key(*identity));
    match strange {
        Some((origin, epoch, partition, offset)) => Err(format!(
            "the hub has {origin}/{TOPIC}/{partition}@{offset}~{epoch}, which nobody recorded"
        )),
        None => Ok(Compared {
            records: hub.len() as u64,
            ship_epochs: ship.into_keys().map(|(_, epoch, ..)| epoch).collect(),
        }),
    }
}

async fn read(node: &Node) -> Result<BTreeMap<Identity, Content>, String> {
    let failed = |error| format!("{} can't be read: {error}", node.name);
    let mut lines = node.client.read(TOPIC, "").await.map_err(failed)?;
    let mut records = BTreeMap::new();
    while let Some(text) = lines.next().await.map_err(failed)? {
        if text.starts_with(b"{\"end\":") {
            return Ok(records);
        }
        let Ok(line) = serde_json::from_slice::<Line<'_>>(&text) else {
            return Err(format!(
                "{} tells of a gap: {}",
                node.name,
                String::from_utf8_lossy(&text)
            ));
        };
        let rest = format!("{} {} {:?} {}", line.timestamp, line.key, line.form, line.headers);
        let content = Content { value: line.value.get().into(), rest };
        let identity = (line.origin, line.epoch, line.partition, line.offset);
        if let Some(_twice) = records.insert(identity, content) {
            return Err(format!(
                "{} has a record twice: {}",
                node.name,
                String::from_utf8_lossy(&text)
            ));
        }
    }
    Err(format!("the answer of {} is cut off", node.name))
}

/// Compares the hashes of all branches that the ship and its copy have with the hub's, computed
/// from the records in the stores. None of the nodes may run. What the copy was given back of the
/// ship's later records, under the ship's epochs, ends wherever that had come to; each of those
/// records has been compared. Returns how many branches agree.
pub(super) fn by_hash(stage: &Stage, ship_epochs: &BTreeSet<String>) -> Result<usize, String> {
    let hub = branches(&stage.hub)?;
    let mut agree = 0;
    for node in [&stage.ship, &stage.copy] {
        for branch in branches(node)? {
            if node.name == stage.copy.name && ship_epochs.contains(&branch.epoch) {
                continue;
            }
            let same = |held: &&BranchReport| {
                let place = |of: &BranchReport| (of.stream.clone(), of.epoch.clone(), of.next);
                place(held) == place(&branch)
            };
            match hub.iter().find(same) {
                Some(held) if held.hash == branch.hash => agree += 1,
                Some(held) => {
                    return Err(format!(
                        "{} up to offset {}: the hash is {} at the hub and {} at {}",
                        branch.stream, branch.next, held.hash, branch.hash, node.name
                    ));
                }
                None => {
                    return Err(format!(
                        "{}: a branch that ends at offset {} is at {} and not at the hub",
                        branch.stream, branch.next, node.name
                    ));
                }
            }
        }
    }
    Ok(agree)
}

/// The branches of the topic in a store in which everything was checked.
fn branches(node: &Node) -> Result<Vec<BranchReport>, String> {
    let said = |error: &dyn std::fmt::Display| format!("{} can't be checked: {error}", node.name);
    let none: [(String, String); 0] = [];
    let config = Config::load(None, &node.data, none).map_err(|error| said(&error))?;
    let inspection = Inspection::open(&node.data, &config).map_err(|error| said(&error))?;
    let report = inspection.verify().map_err(|error| said(&error))?;
    if let Some(found) = report.failed.first() {
        return Err(format!("{}: segment {}: {}", node.name, found.segment, found.what));
    }
    let topic = format!("/{TOPIC}/");
    Ok(report.branches.into_iter().filter(|branch| branch.stream.contains(&topic)).collect())
}
