//! The registry that the hubs before a Kafka share. What is decided here is proposed there, and
//! counts when it has come back; what others decide comes by the same way. All of it is recorded
//! here too, so that sites are let in while Kafka is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::{mpsc, oneshot};

use super::admin::Decision;
use super::enrolling::Asked;
use super::input::Input;
use super::machine::Machine;
use super::open::{Opened, StartError};
use crate::api::{AdminCommand, AdminReply, ApiError, ErrorCode};
use crate::config::Config;
use crate::identity::{HubRecord, OwnerRecord, hubs, owners, registry, token_record};
use crate::kafka::{self, Outcome, Proposal, Told};
use crate::node::InternalRecord;

/// How often a command is decided again because other hubs wrote at the same time.
const ATTEMPTS_MAX: u32 = 5;
/// Records of this hub alone that are proposed at once.
const OWN_MAX: usize = 256;

type Answer = oneshot::Sender<Result<AdminReply, ApiError>>;

/// A node's share of a registry that other hubs write, too.
pub(super) struct Shared {
    /// None if the node has no network, or could not record what it was told: then it changes
    /// nothing that others may have changed.
    proposals: Option<SyncSender<Proposal>>,
    /// Up to where it was told what is there.
    place: u64,
    /// Whether it was told all that was there when it began.
    whole: bool,
    /// What is recorded here and was not told of.
    alone: BTreeSet<(&'static str, Vec<u8>)>,
    number: u64,
    waiting: BTreeMap<u64, Pending>,
    /// Where this hub's openings are of the shards that it owns.
    owns: BTreeMap<u32, u64>,
}

/// Who waits for a proposal.
enum Pending {
    /// An operator.
    Command { command: AdminCommand, reply: AdminReply, answer: Answer, attempt: u32 },
    /// Sites, which come again.
    Sites(Vec<Asked>),
    /// Nobody: it is what only this hub had.
    Own,
}

impl Shared {
    /// Begins to follow the registry, if there is a Kafka behind this node.
    pub(super) fn start(
        config: &Config,
        opened: &Opened,
        network: bool,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Option<Self>, StartError> {
        let node = opened.node.settings();
        let key = opened.key.public().to_string();
        let settings = kafka::Settings::of(config, &node.site, &key, &node.lanes);
        let settings =
            settings.map_err(|kafka::NoPassword(path, error)| StartError::File(path, error))?;
        let Some(settings) = settings else { return Ok(None) };
        let tell = move |told| inputs.blocking_send(Input::Registry(told)).is_ok();
        let proposals = network.then(|| kafka::follow(settings, tell)).transpose();
        let proposals = proposals.map_err(|error| StartError::File(opened.data.clone(), error))?;
        let (alone, waiting) = (recorded(opened), BTreeMap::new());
        let (place, whole, number, owns) = (0, false, 0, BTreeMap::new());
        Ok(Some(Self { proposals, place, whole, alone, number, waiting, owns }))
    }

    /// Proposes records by all that was told so far. Returns who would wait if that can't be done.
    fn propose(&mut self, records: Vec<InternalRecord>, pending: Pending) -> Option<Pending> {
        let Some(proposals) = &self.proposals else { return Some(pending) };
        self.number += 1;
        let proposal = Proposal { number: self.number, place: self.place, records };
        match proposals.try_send(proposal) {
            Ok(()) => {
                self.waiting.insert(self.number, pending);
                None
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Some(pending),
        }
    }
}

/// The keys of what is recorded here.
fn recorded(opened: &Opened) -> BTreeSet<(&'static str, Vec<u8>)> {
    let gate = opened.node.gate();
    let sites = gate.sites().sites().map(|(site, _)| (registry::TOPIC, site.into()));
    let tokens = gate.tokens().tokens().map(|token| token.id.to_string().into_bytes());
    sites.chain(tokens.map(|id| (token_record::TOPIC, id))).collect()
}

impl Machine {
    /// Proposes what an operator's command came to, if other hubs are to hear of it. What is not
    /// for them is given back.
    pub(super) fn shares(
        &mut self,
        command: AdminCommand,
        decision: Decision,
        answer: Answer,
    ) -> Option<(Decision, Answer)> {
        let away = self.shared.as_ref().map(|shared| shared.proposals.is_none());
        match away {
            _ if decision.records.is_empty() => Some((decision, answer)),
            None => Some((decision, answer)),
            // Others hear of a new token when the node starts.
            Some(true) if is_new(&command) => Some((decision, answer)),
            Some(true) => {
                let text = "the hubs of the group share what is known of sites, and this one can't \
                            tell the others now";
                let error = ApiError::new(ErrorCode::Conflict, text).with_hint(
                    "start it by `landfall run`, or look into its log; or ask another hub",
                );
                let _ = answer.send(Err(error));
                None
            }
            Some(false) => {
                self.propose_command(command, decision, answer, 0);
                None
            }
        }
    }

    fn propose_command(
        &mut self,
        command: AdminCommand,
        decision: Decision,
        answer: Answer,
        attempt: u32,
    ) {
        let Some(shared) = &mut self.shared else { return };
        let Decision { records, reply } = decision;
        let pending = Pending::Command { command, reply, answer, attempt };
        if let Some(Pending::Command { answer, .. }) = shared.propose(records, pending) {
            let text = "too much waits for the registry in Kafka already; try again";
            let _ = answer.send(Err(ApiError::new(ErrorCode::Busy, text)));
        }
    }

    /// Proposes the sites that have asked to be registered, unless others are proposed: what is
    /// decided beside that would be void.
    pub(super) fn propose_enrolling(&mut self) {
        let Some(shared) = &mut self.shared else { return };
        // Until all is known, a name may seem to be free that is not.
        let proposed = |pending: &Pending| matches!(pending, Pending::Sites(_));
        if !shared.whole || shared.waiting.values().any(proposed) {
            return;
        }
        let (asked, records) = self.node.gate().take_enrolling();
        if !records.is_empty() {
            // If there is no room, the sites come again.
            let _ = shared.propose(records, Pending::Sites(asked));
        }
    }

    pub(super) fn on_registry(&mut self, told: Told) {
        match told {
            Told::Read { records, place } => self.on_read(&records, place),
            Told::Whole => {
                if let Some(shared) = &mut self.shared {
                    shared.whole = true;
                }
                self.propose_own();
            }
            Told::Settled { number, outcome } => {
                let waiting = self.shared.as_mut().map(|shared| &mut shared.waiting);
                if let Some(pending) = waiting.and_then(|waiting| waiting.remove(&number)) {
                    self.on_settled(pending, outcome);
                }
            }
        }
    }

    /// Takes in what is there, and records what is new here.
    fn on_read(&mut self, records: &[InternalRecord], place: u64) {
        let Some(shared) = &mut self.shared else { return };
        for record in records {
            shared.alone.remove(&(record.topic, record.key.clone()));
        }
        let news: Vec<_> = records.iter().filter(|record| !self.has(record)).cloned().collect();
        match self.record(&news) {
            Ok(()) => {
                if let Some(shared) = &mut self.shared {
                    shared.place = place;
                }
                self.route();
            }
            Err(error) => {
                tracing::error!(%error, "what other hubs decided can't be recorded here; this one \
                    changes nothing until it is started again");
                if let Some(shared) = &mut self.shared {
                    shared.proposals = None;
                }
            }
        }
    }

    /// Whether the gate already knows what a record says.
    fn has(&self, record: &InternalRecord) -> bool {
        let gate = self.node.gate();
        let Ok(key) = std::str::from_utf8(&record.key) else { return false };
        let known = match record.topic {
            registry::TOPIC => gate.sites().record(key).map(|known| known.to_json()),
            token_record::TOPIC => {
                let id = key.to_owned().try_into().ok();
                id.and_then(|id| gate.tokens().token(id)).map(|known| known.to_json())
            }
            hubs::TOPIC => {
                let hub = key.parse().ok();
                hub.and_then(|hub| gate.hubs().record(&hub)).map(|known| known.to_json())
            }
            owners::TOPIC => {
                let shard = key.parse().ok();
                shard.and_then(|shard| gate.owners().of(shard)).map(OwnerRecord::to_json)
            }
            _ => None,
        };
        known == record.value
    }

    /// This hub owns these shards since then, and tells the others.
    pub(super) fn own(&mut self, shards: BTreeMap<u32, u64>) {
        if let Some(shared) = &mut self.shared {
            shared.owns = shards;
        }
        self.propose_own();
    }

    /// What the others are to be told of the shards that this hub owns.
    fn ownership(&self) -> Vec<InternalRecord> {
        let owns = self.shared.iter().flat_map(|shared| &shared.owns);
        let news = owns.filter_map(|(shard, opened_at)| {
            let known = self.node.gate().owners().of(*shard);
            // Who opened it later owns it by now.
            let told = known.is_some_and(|known| known.opened_at >= *opened_at);
            let record = OwnerRecord { hub: self.key, opened_at: *opened_at };
            (!told).then(|| InternalRecord {
                topic: owners::TOPIC,
                key: shard.to_string().into_bytes(),
                value: Some(record.to_json()),
            })
        });
        news.collect()
    }

    /// Tells the others what only this hub has: how it is reached, and what was recorded before
    /// the registry was shared, or while this hub had no network.
    fn propose_own(&mut self) {
        let site = self.node.settings().site.clone();
        let own = HubRecord { site, addresses: self.advertise.clone() };
        let known = self.node.gate().hubs().record(&self.key) == Some(&own);
        let hub = InternalRecord {
            topic: hubs::TOPIC,
            key: self.key.to_string().into_bytes(),
            value: Some(own.to_json()),
        };
        let mut records: Vec<_> = (!known).then_some(hub).into_iter().collect();
        records.extend(self.ownership());
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.whole) else { return };
        let gate = self.node.gate();
        let alone = shared.alone.iter().filter_map(|(topic, key)| {
            let name = std::str::from_utf8(key).ok()?;
            let value = if *topic == registry::TOPIC {
                gate.sites().record(name)?.to_json()
            } else {
                gate.tokens().token(name.to_owned().try_into().ok()?)?.to_json()
            };
            Some(InternalRecord { topic, key: key.clone(), value: Some(value) })
        });
        records.extend(alone.take(OWN_MAX));
        if let Some(shared) = self.shared.as_mut().filter(|_| !records.is_empty()) {
            // If there is no room, it is told when the node starts again.
            let _ = shared.propose(records, Pending::Own);
        }
    }

    fn on_settled(&mut self, pending: Pending, outcome: Outcome) {
        match (pending, outcome) {
            (Pending::Command { reply, answer, .. }, Outcome::Written) => {
                let _ = answer.send(Ok(reply));
            }
            (Pending::Command { command, answer, attempt, .. }, Outcome::Stale) => {
                self.decide_again(command, answer, attempt + 1);
            }
            (Pending::Command { answer, .. }, Outcome::Failed(why)) => {
                let text = format!("the registry in Kafka was not written, or nobody knows: {why}");
                let error = ApiError::new(ErrorCode::NotYet, text)
                    .with_hint("look whether Kafka is there, and try again");
                let _ = answer.send(Err(error));
            }
            (Pending::Sites(asked), Outcome::Failed(why)) => {
                let sites = asked.len();
                tracing::warn!(sites, why, "sites wait to be registered in Kafka");
            }
            (Pending::Sites(asked), Outcome::Stale) => self.node.gate().enrol_again(asked),
            // They come again.
            (Pending::Sites(_), Outcome::Written) => {}
            (Pending::Own, Outcome::Failed(why)) => {
                tracing::warn!(why, "other hubs are not told what this one alone knows");
            }
            (Pending::Own, Outcome::Written | Outcome::Stale) => self.propose_own(),
        }
    }

    fn decide_again(&mut self, command: AdminCommand, answer: Answer, attempt: u32) {
        if attempt >= ATTEMPTS_MAX {
            let text = "other hubs change the registry all the time; try again";
            let _ = answer.send(Err(ApiError::new(ErrorCode::Busy, text)));
            return;
        }
        match self.decide(&command) {
            Ok(decision) if decision.records.is_empty() => {
                let _ = answer.send(Ok(decision.reply));
            }
            Ok(decision) => self.propose_command(command, decision, answer, attempt),
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
    }
}

/// Whether a command only adds what nobody can have changed meanwhile.
fn is_new(command: &AdminCommand) -> bool {
    matches!(command, AdminCommand::CreateToken(_) | AdminCommand::Split { .. })
}
