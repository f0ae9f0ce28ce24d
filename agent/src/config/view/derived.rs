//! Derived topics as they are written, and what must hold of all of them together.

use super::*;
use crate::api::{DEAD_SUFFIX, dead_topic};
use crate::config::Topic;
use crate::views::definition::OnError;

impl Reader<'_> {
    /// What is derived from the records of a topic.
    pub(super) fn emit(
        &self,
        known: &Known<'_>,
        part: &str,
    ) -> Result<BTreeMap<String, Vec<String>>, ConfigError> {
        let Some((value, place)) = known.get("emit") else { return Ok(BTreeMap::new()) };
        let part = format!("{part}.emit");
        let table = as_table(value, &format!("{}{part}", self.key), place)?;
        let mut emit = BTreeMap::new();
        for (topic, value) in table {
            let place = self.text.place(topic.span().start);
            let topic = self.derived_topic(topic.get_ref(), &place, &part)?;
            let part = format!("{part}.{topic}");
            emit.insert(topic, self.statement_list(value.get_ref(), &place, &part)?);
        }
        if emit.is_empty() {
            return Err(self.missing(&format!("{}.TOPIC", part.trim_start_matches('.'))));
        }
        Ok(emit)
    }

    /// A topic that may be derived.
    pub(super) fn derived_topic(
        &self,
        topic: &str,
        place: &Place,
        part: &str,
    ) -> Result<String, ConfigError> {
        if let Err(error) = check_topic(topic) {
            return Err(self.wrong(place, part, topic, &error.to_string()));
        }
        if landfall_core::name::topic_is_internal(topic) {
            let allowed = "a topic without `_` in front; those are the node's own";
            return Err(self.wrong(place, part, topic, allowed));
        }
        if topic.ends_with(DEAD_SUFFIX) {
            let allowed = "a topic whose name does not end with `.dead`; those have dead letters";
            return Err(self.wrong(place, part, topic, allowed));
        }
        Ok(topic.to_owned())
    }
}

/// Checks that each derived topic has one writer, and that no topic is derived from itself, also
/// not through others.
pub(in crate::config) fn check_derived(
    views: &[Definition],
    topics: &[Topic],
) -> Result<(), ConfigError> {
    let mut derived: BTreeMap<String, &str> = BTreeMap::new();
    for view in views {
        for topic in view.derives() {
            let key = format!("view.{}", view.name);
            if let Some(other) = derived.get(&topic) {
                let why = format!(
                    "derives `{topic}`, as `{other}` does; a derived topic has one writer, which \
                     may follow several topics"
                );
                return Err(ConfigError::conflict(key, why));
            }
            if topics.iter().any(|named| named.name == topic && !named.writers.is_empty()) {
                let why = format!(
                    "derives `{topic}`, which names `writers`; nobody else writes a derived topic, \
                     so remove them"
                );
                return Err(ConfigError::conflict(key, why));
            }
            derived.insert(topic, &view.name);
        }
    }
    for topic in derived.keys() {
        if let Some(cycle) = cycle(views, topic) {
            let key = format!("view.{}", derived.get(topic).copied().unwrap_or_default());
            let why = format!("`{topic}` would be derived from itself without end: {cycle}");
            return Err(ConfigError::conflict(key, why));
        }
    }
    Ok(())
}

/// How a topic is derived from itself, as `ais → fast (view speed) → ais (view slow)`.
fn cycle(views: &[Definition], topic: &str) -> Option<String> {
    // Where each topic was come to first, and by which view.
    let mut from: BTreeMap<String, (String, &str)> = BTreeMap::new();
    let mut open = vec![topic.to_owned()];
    while let Some(at) = open.pop() {
        for view in views {
            let Some(source) = view.sources.get(at.as_str()) else { continue };
            // What it refuses comes there as dead letters, and may be refused again.
            let letters = dead_topic(&at).filter(|_| view.on_error == OnError::DeadLetter);
            for to in source.emit.keys().cloned().chain(letters) {
                if !from.contains_key(&to) {
                    from.insert(to.clone(), (at.clone(), &view.name));
                    open.push(to);
                }
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = topic;
    loop {
        let (before, view) = from.get(at)?;
        steps.push(format!(" → {at} (view {view})"));
        at = before;
        if at == topic {
            break;
        }
    }
    steps.push(topic.to_owned());
    steps.reverse();
    Some(steps.concat())
}
