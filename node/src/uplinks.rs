//! Uplinks: the nodes above, all on the way to the same root. Most nodes have one. A hub of a group
//! has several at a time: the first is its own way to the root, the others lead to hubs that bring
//! there what this one may not.
//!
//! - Which of them takes a stream goes by its origin, says the gate, and changes only in
//!   [`Node::set_uplinks`]. What is of an uplink that is not open waits.
//! - A promise for the root counts from whichever. What was promised by the next node before
//!   streams moved is no word of the one that they go to now: it begins behind the root.
//! - What comes down, and how this node stands, goes over the first. The cap on the rate is one for
//!   all, and on a metered link all are visited alike.

use std::collections::{BTreeMap, BTreeSet};

use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::heard::Heard;
use landfall_core::journal::Cursor;
use landfall_core::media::Media;
use landfall_core::num::Lane;
use landfall_protocol::backoff::BackoffConfig;
use landfall_protocol::message::{GoodbyeCode, Promise};
use landfall_protocol::time::Instant;

use super::dial::Dialer;
use super::progress::LanePlace;
use super::{Core, Gate, Node, Now};

/// One of the nodes above.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Uplink(pub u8);

impl Uplink {
    /// For most nodes the only one; never closed.
    pub const FIRST: Self = Self(0);
}

/// Uplinks that may be open, with the first.
pub const UPLINKS_MAX: usize = 32;

/// What is known of one of the nodes above.
#[derive(Debug)]
pub(crate) struct Above {
    pub(crate) dialer: Dialer,
    /// The last promise that was heard from it, or before it was opened from any.
    pub(crate) promise: Option<Promise>,
    /// Whether others have promised what the root does not have yet.
    pub(crate) mixed: bool,
    /// How far each lane is durable there, as far as its streams go.
    pub(crate) durable: BTreeMap<Lane, LanePlace>,
}

impl Above {
    /// `heard` is the last promise that the journal knows, whoever made it.
    fn new(backoff: BackoffConfig, heard: Option<Heard>, now: Instant) -> Self {
        Self {
            dialer: Dialer::new(backoff, now),
            promise: heard.map(super::promise::heard),
            mixed: heard.is_some_and(|heard| heard.mixed),
            durable: BTreeMap::new(),
        }
    }
}

/// Those that are open; none at a root.
#[derive(Debug, Default)]
pub(crate) struct Uplinks {
    open: BTreeMap<Uplink, Above>,
    /// All before was durable at the root when they were set last, whatever took it.
    floor: BTreeMap<Lane, Cursor>,
}

impl Uplinks {
    /// The first alone.
    pub(crate) fn one(backoff: BackoffConfig, heard: Option<Heard>, now: Instant) -> Self {
        let first = Above::new(backoff, heard, now);
        Self { open: BTreeMap::from([(Uplink::FIRST, first)]), floor: BTreeMap::new() }
    }

    pub(crate) fn get(&self, uplink: Uplink) -> Option<&Above> {
        self.open.get(&uplink)
    }

    pub(crate) fn get_mut(&mut self, uplink: Uplink) -> Option<&mut Above> {
        self.open.get_mut(&uplink)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Uplink, &Above)> {
        self.open.iter().map(|(uplink, above)| (*uplink, above))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Uplink, &mut Above)> {
        self.open.iter_mut().map(|(uplink, above)| (*uplink, above))
    }

    /// Whether there are several, so that streams go from one to another.
    pub(crate) fn are_several(&self) -> bool {
        self.open.len() > 1
    }

    /// The last promise of an uplink.
    pub(crate) fn promise(&self, uplink: Uplink) -> Option<Promise> {
        self.get(uplink)?.promise
    }
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Sets which uplinks are open, besides the first, and lets the gate be told what each of them
    /// takes. Links over which other streams go from now on are left, for the reason `why`, and
    /// begin anew; so are those that are not open any more. An uplink that is to lead to another
    /// node is closed first.
    ///
    /// # Panics
    /// The node has no upstream, or these are more than [`UPLINKS_MAX`].
    pub fn set_uplinks(
        &mut self,
        uplinks: &[Uplink],
        assign: impl FnOnce(&mut G),
        why: &str,
        now: Now,
    ) {
        assert!(self.core.settings.upstream, "a root has nobody above");
        let open: BTreeSet<_> = uplinks.iter().copied().chain([Uplink::FIRST]).collect();
        assert!(open.len() <= UPLINKS_MAX, "the number of uplinks has a limit");
        self.core.arrived_at = now;
        let anew = self.core.set_uplinks(&open, assign, now);
        let of = |uplink: Option<Uplink>| uplink.is_some_and(|uplink| anew.contains(&uplink));
        let links = self.links.iter_mut().filter(|(_, link)| of(link.state.uplink));
        let mut left = Vec::new();
        for (id, link) in links {
            // What it has sent must not move places that went back.
            link.state.sender = None;
            link.state.goodbye = Some((GoodbyeCode::Shutdown, why.into()));
            left.push(*id);
        }
        self.flush();
        left.into_iter().for_each(|id| self.after(id, now));
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// The uplink of a stream, open or not.
    pub(crate) fn uplink_of(&self, ix: StreamIx) -> Uplink {
        self.gate.uplink_of(self.journal.frontier().name(ix).origin)
    }

    /// Whether a stream is sent over an uplink.
    pub(crate) fn takes(&self, uplink: Uplink, ix: StreamIx) -> bool {
        self.goes_on(ix) && self.uplink_of(ix) == uplink
    }

    /// Up to where all of a lane is durable at the root, as far as it was sent; none if that is not
    /// known.
    pub(crate) fn rooted_place(&self, lane: Lane) -> Option<Cursor> {
        self.least_place(lane, |place| place.root)
    }

    /// The same for the next node of each stream.
    pub(crate) fn hop_place(&self, lane: Lane) -> Option<Cursor> {
        self.least_place(lane, |place| place.hop)
    }

    fn least_place(&self, lane: Lane, of: impl Fn(&LanePlace) -> Cursor) -> Option<Cursor> {
        let places = self.uplinks.iter().map(|(_, above)| above.durable.get(&lane).map(&of));
        let waits = self.waits_for_uplink().then(|| self.uplinks.floor.get(&lane).copied());
        let places: Option<Vec<_>> = places.chain(waits).collect();
        places?.into_iter().min_by_key(|at| (at.seq, at.segment, at.at))
    }

    /// Whether anything is to be sent over an uplink that is not open.
    fn waits_for_uplink(&self) -> bool {
        let frontier = self.journal.frontier();
        (0..frontier.streams()).map(StreamIx).any(|ix| {
            let waits = |ix| frontier.branches(ix).any(|(_, held)| held.root < held.tip.next);
            self.goes_on(ix) && self.uplinks.get(self.uplink_of(ix)).is_none() && waits(ix)
        })
    }

    /// Returns the uplinks whose links begin anew.
    fn set_uplinks(
        &mut self,
        open: &BTreeSet<Uplink>,
        assign: impl FnOnce(&mut G),
        now: Now,
    ) -> BTreeSet<Uplink> {
        let streams: Vec<_> = (0..self.journal.frontier().streams()).map(StreamIx).collect();
        let before: Vec<_> = streams.iter().map(|ix| self.uplink_of(*ix)).collect();
        let lanes = (0..self.journal.lanes()).map(Lane::new);
        let rooted = |lane| self.rooted_place(lane).unwrap_or_else(|| self.journal.first(lane));
        let floor = lanes.map(|lane| (lane, rooted(lane))).collect();
        assign(&mut self.gate);
        let mut anew = BTreeSet::new();
        for (ix, before) in streams.into_iter().zip(before) {
            let now = self.uplink_of(ix);
            if now != before {
                anew.extend([before, now]);
            }
        }
        anew.extend(self.uplinks.open.keys().filter(|uplink| !open.contains(uplink)));
        self.uplinks.open.retain(|uplink, _| open.contains(uplink));
        self.uplinks.floor = floor;
        let heard = self.journal.heard().last();
        for uplink in open {
            let is_new = !self.uplinks.open.contains_key(uplink);
            let backoff = self.settings.backoff;
            let above = self.uplinks.open.entry(*uplink);
            let above = above.or_insert_with(|| Above::new(backoff, heard, now.instant));
            if is_new || anew.contains(uplink) {
                let root =
                    |(lane, at): (&Lane, &Cursor)| (*lane, LanePlace { hop: *at, root: *at });
                above.durable = self.uplinks.floor.iter().map(root).collect();
                // Who was promised by another begins behind the root.
                above.mixed = true;
                above.dialer.begin_anew(backoff, now.instant);
            }
        }
        anew
    }
}
