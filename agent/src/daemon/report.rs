//! The node's status, for people and programs.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::batch::ClockQuality;
use landfall_core::frontier::{Branch, BranchIx, Frontier, StreamIx};
use landfall_core::num::Lane;

use super::machine::{Machine, now};
use crate::api::{
    Alarm, ClockStatus, ForkStatus, GapStatus, LaneStatus, LinkState, LinkStatus, MemoryStatus,
    SiteStatus, Status, StreamsSummary, SubscriptionState, SubscriptionStatus,
};
use crate::clock;
use crate::identity::registry::SiteState;
use crate::node::{AlarmKind, Coming, OnFull, Phase, Uplink};
use crate::usage;

/// Gaps and forks that a status lists.
const LISTED_MAX: usize = 100;

impl Machine {
    pub(super) fn status(&mut self) -> Status {
        let consumers = self.consumers();
        let journal = self.node.journal();
        Status {
            site: self.node.settings().site.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            log_id: journal.log().to_string(),
            epoch: journal.epoch().to_string(),
            now_ms: clock::wall().ms(),
            clock: self.clock(),
            lanes: self.lanes(),
            link: self.link(),
            subscriptions: self.subscriptions(),
            streams: self.streams(),
            forks: self.forks(),
            gaps: self.gaps(),
            alarms: self.alarms(),
            sites: self.sites(),
            offences: self.offences(),
            views: Vec::new(),
            consumers,
            medium: self.medium(),
            memory: self.memory(),
        }
    }

    fn memory(&self) -> MemoryStatus {
        let memory = usage::memory();
        MemoryStatus {
            cap_bytes: self.memory_max,
            used_bytes: memory.map(|memory| memory.own),
            resident_bytes: memory.map(|memory| memory.resident),
            peak_bytes: memory.map(|memory| memory.peak),
        }
    }

    fn clock(&self) -> ClockStatus {
        let offset = self.node.clock().stretches.last().and_then(|stretch| stretch.offset);
        ClockStatus {
            set: clock::wall().quality() != ClockQuality::Unset,
            behind_ms: offset.map(|offset| offset.delta_ms),
            error_ms: offset.map(|offset| offset.error_ms),
        }
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        let settings = &self.node.settings().lanes;
        let mut order: Vec<_> = (0..settings.len()).collect();
        order.sort_by_key(|at| settings.get(*at).map(|lane| u8::MAX - lane.priority));
        let lanes = order.into_iter().filter_map(|at| Some((at, settings.get(at)?)));
        lanes
            .map(|(at, told)| {
                let lane = Lane::new(at as u8);
                let journal = self.node.journal();
                let (_, next) = journal.seqs(lane);
                let hop = self.node.durable_seq(lane);
                let root = self.node.root_seq(lane);
                let (used_bytes, budget_bytes) = journal.usage(lane);
                let behind = self.node.behind_records(lane);
                LaneStatus {
                    name: told.name.clone(),
                    next_seq: next.get(),
                    durable_seq: hop.get(),
                    root_seq: root.get(),
                    behind_records: behind,
                    behind_bytes: self.node.behind_bytes(lane),
                    budget_bytes,
                    used_bytes,
                    written_bytes: journal.media().written().of(lane),
                    payload_bytes: self.node.payload_bytes(lane),
                    on_full: match told.on_full {
                        OnFull::Reject => "reject".into(),
                        OnFull::DropOldest => "drop_oldest".into(),
                    },
                }
            })
            .collect()
    }

    fn link(&self) -> Option<LinkStatus> {
        let state = self.node.dial_state()?;
        let up = self.node.links().find(|link| link.uplink == Some(Uplink::FIRST));
        let peer = up.and_then(|link| self.links.get(&link.id));
        let since = now().instant.since(state.since).millis();
        let state_now = match state.phase {
            Phase::Up if self.node.is_synced() => LinkState::Synced,
            Phase::Up => LinkState::CatchingUp,
            Phase::Dialing | Phase::Greeting => LinkState::Connecting,
            Phase::Waiting if state.refused => LinkState::Refused,
            Phase::Waiting => LinkState::Waiting,
            Phase::Resting { .. } => LinkState::Resting,
        };
        Some(LinkStatus {
            state: state_now,
            since_ms: clock::wall().ms() - i64::try_from(since).unwrap_or_default(),
            why: state.why.clone(),
            address: peer
                .map(|peer| peer.remote.clone())
                .or_else(|| self.upstream.addresses.first().cloned()),
            carrier: peer.map(|peer| peer.carrier.into()),
            attempts: u64::from(state.attempts),
        })
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let told = self.node.coming_down().map(|(topic, coming)| {
            let (state, why) = match coming {
                Coming::Offline => (SubscriptionState::Offline, None),
                Coming::Asked => (SubscriptionState::Coming, None),
                Coming::Level => (SubscriptionState::Level, None),
                Coming::NoRoom => (SubscriptionState::NoRoom, None),
                Coming::Refused(why) => (SubscriptionState::Refused, Some(why)),
            };
            SubscriptionStatus { topic: topic.into(), state, why }
        });
        told.collect()
    }

    fn each_branch(&self) -> impl Iterator<Item = (StreamIx, BranchIx, Branch)> + '_ {
        let frontier = self.node.journal().frontier();
        (0..frontier.streams())
            .map(StreamIx)
            .flat_map(move |ix| frontier.branches(ix).map(move |(at, branch)| (ix, at, branch)))
    }

    fn streams(&self) -> StreamsSummary {
        let frontier = self.node.journal().frontier();
        let mut summary = StreamsSummary::default();
        let mut topics = BTreeSet::new();
        for (ix, at, branch) in self.each_branch() {
            let name = frontier.name(ix);
            if landfall_core::name::topic_is_internal(name.topic) {
                continue;
            }
            summary.records += branch.tip.next.since(branch.from);
            if at == BranchIx::MAIN {
                topics.insert(name.topic);
                let own = name.origin == self.node.settings().site;
                if own { summary.own += 1 } else { summary.others += 1 }
            }
        }
        summary.topics = topics.len() as u64;
        summary
    }

    fn forks(&self) -> Vec<ForkStatus> {
        let frontier = self.node.journal().frontier();
        let forked = self.each_branch().filter(|(_, at, _)| *at == BranchIx(1));
        forked
            .take(LISTED_MAX)
            .map(|(ix, _, second)| ForkStatus {
                stream: frontier.name(ix).to_string(),
                offset: second.from.get(),
                branches: frontier.branches(ix).map(|(_, held)| held.first.to_string()).collect(),
                what: "fork".into(),
                hint:
                    "an old image was restored, the disk lost synced writes, or a copy runs; both \
                       branches are kept"
                        .into(),
            })
            .collect()
    }

    fn gaps(&self) -> Vec<GapStatus> {
        let frontier = self.node.journal().frontier();
        let losses = self.node.journal().losses().iter().rev().take(LISTED_MAX);
        losses
            .filter_map(|loss| {
                let (ix, _) = loss.stream?;
                Some(GapStatus {
                    stream: frontier.name(ix).to_string(),
                    from: loss.from.get(),
                    to: loss.to.get(),
                    why: loss.reason.map(|reason| reason.to_string()).unwrap_or_default(),
                })
            })
            .collect()
    }

    fn alarms(&self) -> Vec<Alarm> {
        let alarms = self.node.alarms().map(|alarm| Alarm {
            what: kind(alarm.kind).into(),
            place: alarm.subject.clone(),
            hint: alarm.text.clone(),
            since_ms: alarm.since.get(),
        });
        alarms.collect()
    }

    /// What peers did that they must not, by name.
    fn offences(&self) -> BTreeMap<String, u64> {
        let sessions = self.node.offences().map(|(offence, count)| (offence.name(), count));
        let below = self.transport.iter().flat_map(|transport| transport.offences());
        let below = below.map(|(offence, count)| (offence.name(), count));
        sessions.chain(below).map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// The sites that are registered here, and those that are connected.
    pub(super) fn sites(&self) -> Vec<SiteStatus> {
        let sites = self.node.gate().sites();
        sites
            .sites()
            .map(|(site, record)| {
                let link = self.node.links().find(|link| link.open && link.site == Some(site));
                let connected = link.is_some();
                let state = match record.state {
                    SiteState::Revoked => "revoked",
                    SiteState::Active if connected => "connected",
                    SiteState::Active => "away",
                };
                let now = connected.then(|| clock::wall().ms());
                let heard = self.node.standings().get(site);
                let standing = heard.map(|heard| heard.standing);
                let software = link.and_then(|link| link.software).map(str::to_owned);
                let full_at = heard.and_then(|heard| {
                    let wait = i64::try_from(heard.standing.full_in_ms?).ok()?;
                    heard.at.get().checked_add(wait)
                });
                SiteStatus {
                    site: site.into(),
                    state: state.into(),
                    last_contact_ms: now.or_else(|| self.seen.get(site).copied()),
                    version: software.or_else(|| heard.map(|heard| heard.software.clone())),
                    behind_records: standing.map(|standing| standing.behind_records),
                    behind_bytes: standing.map(|standing| standing.behind_bytes),
                    oldest_unsent_ms: standing.and_then(|standing| Some(standing.oldest?.get())),
                    full_at_ms: full_at,
                    alarms: self
                        .node
                        .alarms()
                        .filter(|alarm| alarm.subject == site)
                        .map(|alarm| kind(alarm.kind).into())
                        .collect(),
                }
            })
            .collect()
    }
}

pub(super) fn kind(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::Loss => "loss",
        AlarmKind::Gap => "gap",
        AlarmKind::Fork => "fork",
        AlarmKind::TailLost => "tail lost",
        AlarmKind::Copy => "copy",
        AlarmKind::PromiseLacking => "promise lacking",
        AlarmKind::Peer => "peer",
        AlarmKind::Stalled => "stalled",
        AlarmKind::Journal => "journal",
        AlarmKind::Unreadable => "unreadable",
        AlarmKind::Consumer => "consumer",
        AlarmKind::View => "view",
        AlarmKind::ProducersForgotten => "producers forgotten",
    }
}
