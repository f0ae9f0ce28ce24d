//! Consumers as the API speaks of them: places to cursors and back, and how far they are behind.

use std::collections::BTreeMap;

use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::media::{Media, MediaError};
use landfall_core::num::{CommitNo, Epoch};
use landfall_protocol::time::Duration;

use super::machine::{Machine, now};
use super::refusal::consumer_refusal;
use crate::api::limits::PAGE_BYTES_MAX;
use crate::api::{
    ApiError, ConsumerStatus, Cursor, ErrorCode, FetchPage, FetchRequest, Gap, MemberStatus,
    ReadFrom, ReadItem, ReadQuery, ShareCursor, ShareStatus,
};
use crate::node::consumer::{Consumer, Place};
use crate::node::{Gate, Node};

/// How long is counted for one status. What is not counted in that time is told as it was.
const COUNT_MAX: Duration = Duration::from_millis(200);

/// How far consumers were behind when that was counted last.
#[derive(Debug, Default)]
pub(super) struct Lags(BTreeMap<String, Lag>);

#[derive(Clone, Copy, Debug)]
struct Lag {
    at: Place,
    behind: u64,
    /// Records that the topics had then, over all streams.
    had: u64,
}

/// The place of a cursor.
pub(super) fn place(cursor: Cursor) -> Place {
    let Cursor { epoch, commit, index, .. } = cursor;
    Place { epoch: Epoch::new(epoch), commit: CommitNo::new(commit), index }
}

/// The cursor of a place.
pub(super) fn cursor(log_id: u64, place: Place) -> Cursor {
    let Place { epoch, commit, index } = place;
    Cursor { log_id, epoch: epoch.get(), commit: commit.get(), index }
}

impl Machine {
    /// What a member of a consumer is given next.
    pub(super) fn fetch(&mut self, wanted: &FetchRequest) -> Result<FetchPage, ApiError> {
        let FetchRequest { consumer, member, .. } = wanted;
        if !self.node.knows_own_topics() {
            let text = "the disk refuses to read how far consumers are";
            return Err(ApiError::new(ErrorCode::Busy, text).with_hint("check the disk; ask again"));
        }
        let lease = Duration::from_millis(wanted.lease_ms);
        let mut anew = wanted.anew;
        loop {
            let portion = self.node.take_share(consumer, member, lease, anew, now());
            let portion = portion.map_err(|why| consumer_refusal(consumer, why))?;
            anew = false;
            let Some(portion) = portion.filter(|_| wanted.records_max > 0) else {
                let through = self.node.journal().last_commit().get();
                return Ok(FetchPage { items: Vec::new(), cursor: None, through, slots: 0 });
            };
            let known = self.node.consumer(consumer).map(|known| known.topics.clone());
            let log = self.node.journal().log().get();
            let query = ReadQuery {
                topics: known.unwrap_or_default(),
                from: ReadFrom::After(cursor(log, portion.from)),
                not_before: None,
                seen: None,
                corrected: false,
                origin: None,
                partition: None,
                records_max: wanted.records_max,
                bytes_max: PAGE_BYTES_MAX,
            };
            let page = self.readers.page(&self.node, &query, Some(&portion))?;
            let end = portion.to.filter(|_| page.end).unwrap_or_else(|| place(page.cursor));
            let mut items = self.missed(consumer, page.cursor);
            items.extend(page.items);
            let is_empty = items.is_empty();
            self.node.note_given(consumer, member, (&portion, end), is_empty);
            if !is_empty || page.end && portion.to.is_none() {
                let cursor = ShareCursor { cursor: cursor(log, end), slots: portion.slots.0 };
                let slots = portion.slots.count();
                let through = page.through;
                return Ok(FetchPage { items, cursor: Some(cursor), through, slots });
            }
        }
    }

    /// The consumers and how far they are. What the disk refuses to read is not counted.
    pub(super) fn consumers(&mut self) -> Vec<ConsumerStatus> {
        let mut counted = BTreeMap::new();
        let mut told = Vec::new();
        let began = now().instant;
        for (name, consumer) in self.node.consumers() {
            let last = self.lags.0.get(name).copied();
            let is_late = now().instant.since(began) >= COUNT_MAX;
            let known = last.filter(|_| is_late).map(Ok);
            let lag = known.unwrap_or_else(|| count(&self.node, consumer, last));
            let lag = lag.unwrap_or_else(|error| {
                tracing::warn!(consumer = name, %error, "how far it is behind can't be read");
                Lag { at: consumer.at(), behind: 0, had: 0 }
            });
            counted.insert(name.to_owned(), lag);
            told.push(self.consumer(name, consumer, lag.behind));
        }
        self.lags.0 = counted;
        told
    }

    /// What a consumer was not given, as it was forgotten since its last commit.
    fn missed(&self, consumer: &str, at: Cursor) -> Vec<ReadItem> {
        let gaps = self.node.consumer(consumer).into_iter().flat_map(|known| &known.gaps);
        let gaps = gaps.filter_map(|gap| {
            let (from, to) = (gap.from.get(), gap.to.get());
            let why = "it was forgotten before the consumer took it in".to_owned();
            let stream = gap.stream.parse().ok()?;
            Some(ReadItem::Gap(Gap { stream, from, to, why }, at))
        });
        gaps.collect()
    }

    fn consumer(&self, name: &str, consumer: &Consumer, behind_records: u64) -> ConsumerStatus {
        let log = self.node.journal().log().get();
        let text =
            |place: Place| self.node.has_place(&place).then(|| cursor(log, place).to_string());
        let shares = consumer.shares.iter();
        let shares = shares
            .map(|share| ShareStatus { cursor: text(share.at), slots: share.slots.count() })
            .collect();
        let commits = self.node.journal().last_commit().since(consumer.at().commit);
        let now = now();
        let members = self.node.members(name, now).map(|member| MemberStatus {
            member: member.name.to_owned(),
            slots: member.slots.count(),
            lease_ms: member.ends.since(now.instant).millis(),
        });
        ConsumerStatus {
            consumer: name.into(),
            topics: consumer.topics.clone(),
            cursor: text(consumer.at()),
            behind_records,
            lacking: consumer.lacking,
            behind_commits: if behind_records == 0 { 0 } else { commits },
            shares,
            members: members.collect(),
        }
    }
}

/// How far a consumer is behind; `last` saves reading if it has not moved.
fn count<M: Media, G: Gate>(
    node: &Node<M, G>,
    consumer: &Consumer,
    last: Option<Lag>,
) -> Result<Lag, MediaError> {
    let frontier = node.journal().frontier();
    let streams = (0..frontier.streams()).map(StreamIx);
    let named = streams.filter(|ix| consumer.names(frontier.name(*ix).topic));
    let had = named.map(|ix| frontier.tip(ix).next.get()).sum::<u64>();
    let at = consumer.at();
    if let Some(last) = last.filter(|last| last.at == at) {
        return Ok(Lag { at, behind: last.behind + had.saturating_sub(last.had), had });
    }
    let behind = node.records_behind(consumer)?;
    Ok(Lag { at, behind, had })
}
