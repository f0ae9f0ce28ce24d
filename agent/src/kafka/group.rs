//! Which shards this hub is to own: Kafka's group protocol spreads the partitions of the frontier
//! topic over the hubs of a group, and with them the shards.
//!
//! The assignment only says who shall try. What keeps two hubs from writing one shard is the fence
//! of its transactional id, so a hub that is frozen, or cut off, while another gets its shards does
//! no harm when it comes back.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::context::Context;
use super::fault::{Fault, text};
use super::settings::Settings;

/// How often the thread looks whether it is still wanted, and whether shards have moved.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The shards that a hub is to own, as the group has it.
pub(super) struct Group {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    shards: BTreeSet<u32>,
    /// Why it is not in the group, and will not be.
    fault: Option<Fault>,
    over: bool,
}

impl Group {
    /// Joins the group on a thread of its own. The frontier topic must be there.
    pub(super) fn join(settings: &Settings) -> Result<Self, Fault> {
        let consumer: BaseConsumer<Context> =
            BaseConsumer::from_config_and_context(&settings.member()?, Context::default())
                .map_err(|error| Fault::Kafka(format!("librdkafka does not start: {error}")))?;
        consumer
            .subscribe(&[&settings.frontier_topic])
            .map_err(|error| Fault::Kafka(format!("joining the group failed: {}", text(&error))))?;
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let thread = std::thread::Builder::new().name("kafka-group".into());
        thread
            .spawn(move || follow(&consumer, &shared))
            .map_err(|error| Fault::Kafka(format!("a thread can't be started: {error}")))?;
        Ok(Self { state })
    }

    /// The shards that this hub is to own; none as long as it is not in the group, or if others
    /// own all.
    ///
    /// # Errors
    /// The hub can't be in the group.
    pub(super) fn shards(&self) -> Result<BTreeSet<u32>, Fault> {
        let state = lock(&self.state);
        state.fault.as_ref().map_or_else(|| Ok(state.shards.clone()), |fault| Err(fault.clone()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        lock(&self.state).over = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing that holds it can leave it half changed.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: keeps the place in the group, and tells what moves. It leaves with its end.
fn follow(consumer: &BaseConsumer<Context>, state: &Mutex<State>) {
    while !lock(state).over {
        // Nothing is read here: the owners of shards read for themselves.
        let polled = consumer.poll(LOOK_EVERY);
        if let Some(Err(error)) = polled
            && let Some(fault) = expelled(&error)
        {
            let trouble = consumer.context().trouble();
            lock(state).fault = Some(fault.amid(trouble));
            return;
        }
        let Ok(list) = consumer.assignment() else { continue };
        let ours = list.elements();
        let shards = ours.iter().filter_map(|at| u32::try_from(at.partition()).ok()).collect();
        let mut state = lock(state);
        if state.shards != shards {
            tracing::info!(?shards, "the group assigns shards");
            // To fetch what nobody reads would cost as much as to read it.
            let _ = consumer.pause(&list);
            state.shards = shards;
        }
    }
}

/// Why a member is out of the group for good: another one has to join.
fn expelled(error: &KafkaError) -> Option<Fault> {
    if error.rdkafka_error_code()? == RDKafkaErrorCode::FencedInstanceId {
        return Some(Fault::Group(
            "another hub has joined the group with this one's key; each needs a data directory of \
             its own, made by `landfall init`"
                .into(),
        ));
    }
    match Fault::of(0, "being in the group of hubs", error) {
        fault @ Fault::Denied(_) => Some(fault),
        _ => None,
    }
}
