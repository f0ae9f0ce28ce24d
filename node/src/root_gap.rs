//! Gaps at the root: what it was brought and could not store, told down to where it came from.
//!
//! They are for people, and kept in memory: a node hears them again in each session with the one
//! above it, and whoever is the root knows them by whatever it stores in.

use std::collections::VecDeque;

use landfall_core::media::Media;
use landfall_core::name::StreamId;
use landfall_core::num::Offset;
use landfall_protocol::message;

use super::link::LinkState;
use super::note::Note;
use super::say::{OwnedStream, Say};
use super::{AlarmKind, Core, Direction, Gate, Node, Now};

/// Gaps that are kept; the oldest of more are forgotten.
const ROOT_GAPS_MAX: usize = 1_000;

/// Offsets of a stream that are missing at the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RootGap {
    stream: OwnedStream,
    from: Offset,
    to: Offset,
    why: String,
}

/// Those that are known, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RootGaps(VecDeque<RootGap>);

impl RootGap {
    pub(crate) fn told(&self) -> message::RootGap<'_> {
        let Self { stream, from, to, why } = self;
        message::RootGap { stream: stream.id(), from: *from, to: *to, text: why }
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// This node is the root, and offsets of a stream from one up to another will never be in what
    /// it stores in, for this reason.
    ///
    /// # Panics
    /// There is no offset in it.
    pub fn miss_at_root(
        &mut self,
        stream: StreamId<'_>,
        (from, to): (Offset, Offset),
        why: &str,
        now: Now,
    ) {
        assert!(from < to, "a gap has offsets");
        self.core.arrived_at = now;
        self.core.on_root_gap(&message::RootGap { stream, from, to, text: why });
        self.pass_notes();
    }

    /// Tells of a gap to the links whose peers it concerns.
    pub(crate) fn pass_root_gap(&mut self, gap: &RootGap) {
        for link in self.links.values_mut().filter(|link| link.session.is_open()) {
            if self.core.concerns(&link.state, gap) {
                link.state.says.push_back(Say::RootGap(gap.clone()));
            }
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Records are missing at the root, says the node above, or whoever stores for this one.
    pub(crate) fn on_root_gap(&mut self, gap: &message::RootGap<'_>) {
        let message::RootGap { stream, from, to, text } = *gap;
        let gap = RootGap { stream: stream.into(), from, to, why: text.into() };
        if self.root_gaps.0.contains(&gap) {
            return;
        }
        let text = format!("offsets {from} to {to} are not at the root and never will be: {text}");
        self.alarm(AlarmKind::Gap, stream.to_string(), text);
        if self.root_gaps.0.len() == ROOT_GAPS_MAX {
            self.root_gaps.0.pop_front();
        }
        self.root_gaps.0.push_back(gap.clone());
        self.notes.push_back(Note::RootGap(gap));
    }

    /// Tells a peer that has come what is missing at the root of what it brought.
    pub(crate) fn tell_root_gaps(&self, state: &mut LinkState) {
        for gap in &self.root_gaps.0 {
            if self.concerns(state, gap) {
                state.says.push_back(Say::RootGap(gap.clone()));
            }
        }
    }

    /// Whether the peer is the origin, or may carry its records.
    fn concerns(&self, state: &LinkState, gap: &RootGap) -> bool {
        let origin = &gap.stream.origin;
        let is_of = |site: &String| site == origin || self.gate.may_carry(site, origin);
        state.direction == Direction::Down && state.site.as_ref().is_some_and(is_of)
    }
}
