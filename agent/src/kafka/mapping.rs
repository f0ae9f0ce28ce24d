//! How a group maps topics, for whoever wants to know or change it.

use std::sync::Arc;

use landfall_core::num::Epoch;

use super::bridge::say_mapping;
use super::fault::Fault;
use super::owner;
use super::rebuild::random;
use super::refusals::Refusals;
use super::restored::OfGroup;
use super::settings::Settings;
use super::shard::Shard;
use super::topics::Topics;

/// Two mappings, each as a line of text: the usual place of a topic, and then those that have
/// another, as `topic=kafka-topic` or `topic=kafka-topic:partition`.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Mapping {
    /// What the hubs of the group do; none if no hub has begun yet.
    pub group: Option<String>,
    /// What the file of this hub says.
    pub file: String,
}

/// Why a mapping is not known, or was not changed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct NoMapping(String);

impl From<Fault> for NoMapping {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

/// Tells both mappings. It blocks.
///
/// # Errors
/// Kafka can't be reached or read.
pub fn mapping(settings: &Settings) -> Result<Mapping, NoMapping> {
    let OfGroup { mapping, .. } = owner::read_group(settings)?;
    Ok(Mapping { group: mapping, file: settings.route.text() })
}

/// Lets the group map topics as the file of this hub says. All hubs that run are fenced by it, and
/// go on by the new mapping, so that none writes by the old one any more. It blocks.
///
/// # Errors
/// There is no group yet, or Kafka can't be reached or read.
pub fn set_mapping(settings: Settings) -> Result<Mapping, NoMapping> {
    let settings = Arc::new(settings);
    let topics = Arc::new(Topics::new(settings.clone())?);
    topics.open_frontier()?;
    let (refusals, epoch) = (Arc::new(Refusals::new()), Epoch::new(random()?));
    let take_over = |number| Shard::take_over(&settings, (&topics, &refusals), number, epoch);
    let shards = (0..settings.shards).map(take_over).collect::<Result<Vec<_>, Fault>>()?;
    let Some(first) = shards.first() else {
        return Err(Fault::Broken("there is no shard").into());
    };
    if first.opened(|| Ok(()))?.group.log.is_none() {
        let text = "the group has not begun: its first hub will map topics as its file says";
        return Err(NoMapping(text.into()));
    }
    say_mapping(first, &settings.route)?;
    let text = settings.route.text();
    Ok(Mapping { group: Some(text.clone()), file: text })
}
