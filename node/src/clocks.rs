//! The clocks of this machine and of those below: how far each was from the node above it, start by
//! start, for readers to correct the times that it gave.
//!
//! A note is kept in the topic `_clocks` of the node's own lane once it matters to readers, and
//! told to the node above, which keeps it too. A clock that was right leaves no trace. Nothing of
//! it enters a record, its hash or its order.

use std::collections::BTreeMap;

use landfall_core::codec::Malformed;
use landfall_core::media::Media;
use landfall_core::name::site_is_valid;
use landfall_core::num::{BootId, Epoch, Partition, Timestamp};
use landfall_protocol::clock::{ClockOffset, EPOCHS_MAX, STRETCHES_MAX, Stretch, is_plausible};
use landfall_protocol::message;
use landfall_protocol::session::Fault;
use landfall_protocol::time::Instant;

use super::clock::{ClockNote, NOTE_BYTES_MAX};
use super::link::LinkState;
use super::note::Note;
use super::say::Say;
use super::{Core, Gate, InternalRecord, Node, Now, Offence, Uplink};

/// The topic of the notes. The key is the start of the machine, 8 bytes, and its site.
pub(crate) const TOPIC: &str = "_clocks";
/// Starts of a machine of which there are notes; older ones are forgotten.
const BOOTS_MAX: usize = 16;
/// Notes take at most this part of the node's own lane.
const LANE_PART: u64 = 8;
/// What others say of their clocks is written, and passed on, so often at most: nobody is told what
/// a peer says faster.
const WRITE_EVERY_MS: u64 = 1_000;
/// A clock that moves by this much between two looks was set; so much more for each millisecond
/// between them, as a clock may be kept in step, up to a minute.
const STEP_MS_MIN: u64 = 1_000;
const SLEW_PART: u64 = 10;
const SLEW_OVER_MS_MAX: u64 = 60_000;
/// A clock that was moved by so much in small steps begins another stretch.
const SPREAD_MS_MAX: u64 = 10_000;

/// What is known of clocks.
#[derive(Debug)]
pub(crate) struct Clocks {
    own: OwnClock,
    /// Notes by site and start of its machine, with their bytes. This start's own is there once it
    /// matters.
    known: BTreeMap<(String, BootId), Kept>,
    bytes: u64,
    /// The next note has this number.
    next: u64,
    written_at: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Kept {
    note: ClockNote,
    bytes: u64,
    /// Notes that came later have higher numbers.
    number: u64,
    /// Whether it is stored as it is.
    written: bool,
}

/// This machine's clock, since it was started.
#[derive(Clone, Debug)]
pub(crate) struct OwnClock {
    note: ClockNote,
    /// The clocks when they were looked at last.
    seen: Now,
    changed: bool,
}

fn zero(now: Now) -> i64 {
    now.wall.get().saturating_sub(running(now.instant))
}

fn running(instant: Instant) -> i64 {
    i64::try_from(instant.millis()).unwrap_or(i64::MAX)
}

impl OwnClock {
    fn new(boot: BootId, epoch: Epoch, now: Now) -> Self {
        let stretches = vec![Stretch::at(now.wall, zero(now))];
        let note = ClockNote { boot, epochs: vec![epoch], stretches };
        Self { note, seen: now, changed: true }
    }

    /// An earlier opening since the machine started knew this of its clock.
    fn resume(&mut self, mut earlier: ClockNote) {
        let now = self.seen;
        earlier.epochs.extend(&self.note.epochs);
        let old = earlier.epochs.len().saturating_sub(EPOCHS_MAX);
        earlier.epochs.drain(..old);
        let last = earlier.stretches.last().copied();
        self.note = earlier;
        if let Some(last) = last {
            let set = zero(now).abs_diff(last.zero_ms) > STEP_MS_MIN + u64::from(last.spread_ms);
            // What it showed in between, nobody saw.
            let from = zero(now).saturating_add(last.to.get().saturating_sub(last.zero_ms));
            if set {
                self.begin(Timestamp::new(from.min(now.wall.get())), now);
            } else {
                self.go_on(now);
            }
        }
        self.changed = true;
    }

    /// Looks at the clocks.
    fn look(&mut self, now: Now) {
        let between = now.instant.since(self.seen.instant).millis();
        let moved = zero(now).abs_diff(zero(self.seen));
        let allowed = STEP_MS_MIN + between.min(SLEW_OVER_MS_MAX) / SLEW_PART;
        let Some(last) = self.note.stretches.last() else { return };
        if moved > allowed || zero(now).abs_diff(last.zero_ms) > SPREAD_MS_MAX {
            let from = zero(now).saturating_add(running(self.seen.instant));
            self.begin(Timestamp::new(from.min(now.wall.get())), now);
        } else {
            self.go_on(now);
        }
        self.seen = now;
    }

    fn go_on(&mut self, now: Now) {
        let Some(last) = self.note.stretches.last_mut() else { return };
        last.to = last.to.max(now.wall);
        last.from = last.from.min(now.wall);
        let moved = u32::try_from(zero(now).abs_diff(last.zero_ms)).unwrap_or(u32::MAX);
        last.spread_ms = last.spread_ms.max(moved);
    }

    /// The clock was set: begins another stretch. What is known of the time above holds for it too,
    /// since the running clock went on.
    fn begin(&mut self, from: Timestamp, now: Now) {
        let mut stretch = Stretch { from, ..Stretch::at(now.wall, zero(now)) };
        if let Some(last) = self.note.stretches.last_mut() {
            last.to =
                last.to.max(Timestamp::new(last.zero_ms.saturating_add(running(now.instant))));
            stretch.offset = last.offset.map(|offset| between(offset, last, &stretch));
        }
        if self.note.stretches.len() == STRETCHES_MAX {
            self.note.stretches.remove(0);
        }
        self.note.stretches.push(stretch);
        self.changed = true;
    }

    /// The node above said its time: it was `above` at some moment since `asked`, and now it is
    /// heard.
    fn hear(&mut self, above: Timestamp, asked: Instant, now: Now) {
        self.look(now);
        let took = now.instant.since(asked).millis();
        let Some(last) = self.note.stretches.last().copied() else { return };
        let shown_ms = last.zero_ms.saturating_add(running(now.instant));
        let heard = ClockOffset::heard(above, took, shown_ms);
        if let Some(known) = last.offset {
            if known.agrees(&heard) {
                if heard.error_ms < known.error_ms / 2 {
                    self.set(last, known, heard);
                }
                return;
            }
            if self.note.stretches.len() == STRETCHES_MAX {
                // Who can't tell its time is not to drive out what is known.
                return;
            }
            // The running clock stood still, or the node above was set: what was, stays as it was.
            self.begin(now.wall, now);
        }
        let Some(last) = self.note.stretches.last_mut() else { return };
        last.offset = Some(heard);
        self.changed = true;
        let this = *last;
        for stretch in self.note.stretches.iter_mut().filter(|of| of.offset.is_none()) {
            stretch.offset = Some(between(heard, &this, stretch));
        }
    }

    /// A better statement in place of another one, wherever that was taken over.
    fn set(&mut self, last: Stretch, known: ClockOffset, heard: ClockOffset) {
        for stretch in &mut self.note.stretches {
            if stretch.offset == Some(between(known, &last, stretch)) {
                stretch.offset = Some(between(heard, &last, stretch));
                self.changed = true;
            }
        }
    }

    /// The time by the node above, as far as it is known, or else by this machine.
    fn told(&self, now: Now) -> Timestamp {
        let Some(last) = self.note.stretches.last() else { return now.wall };
        let Some(offset) = last.offset.filter(ClockOffset::matters) else { return now.wall };
        let zero_ms = last.zero_ms.saturating_add(offset.delta_ms);
        Timestamp::new(zero_ms.saturating_add(running(now.instant)))
    }
}

/// What is known of one stretch, for another one of the same start.
fn between(offset: ClockOffset, of: &Stretch, to: &Stretch) -> ClockOffset {
    offset.of_clock_ahead(to.zero_ms.saturating_sub(of.zero_ms))
}

impl Clocks {
    pub(crate) fn new(boot: BootId, epoch: Epoch, now: Now) -> Self {
        let own = OwnClock::new(boot, epoch, now);
        Self { own, known: BTreeMap::new(), bytes: 0, next: 0, written_at: None }
    }

    /// The time as this node tells it to others.
    pub(crate) fn told(&self, now: Now) -> Timestamp {
        self.own.told(now)
    }

    /// The node above said its time; see [`OwnClock::hear`]. One that can't be is not heard.
    pub(crate) fn hear(&mut self, above: Timestamp, asked: Instant, now: Now) {
        if is_plausible(above) {
            self.own.hear(above, asked, now);
        }
    }

    /// Takes in a record of the node's own lane; what can't be read is no note.
    pub(crate) fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some((site, boot)) = name(key) else { return };
        let key = (site.to_owned(), boot);
        match value.map(|value| ClockNote::decode(boot, value)) {
            Some(Ok(note)) => self.put(key, note, true),
            Some(Err(_)) => {}
            None => drop(self.take(&key)),
        }
    }

    /// Goes on from what an earlier opening since this start of the machine knew.
    pub(crate) fn resume(&mut self, site: &str) {
        let own = &mut self.own;
        let known = self.known.get(&(site.to_owned(), own.note.boot));
        if let Some(known) = known.filter(|known| !known.note.epochs.ends_with(&own.note.epochs)) {
            own.resume(known.note.clone());
        }
    }

    fn put(&mut self, key: (String, BootId), note: ClockNote, written: bool) {
        self.take(&key);
        let bytes = (key.0.len() + note.encoded().len()) as u64 + RECORD_BYTES;
        self.bytes += bytes;
        let number = self.next;
        self.next += 1;
        self.known.insert(key, Kept { note, bytes, number, written });
    }

    fn take(&mut self, key: &(String, BootId)) -> Option<Kept> {
        let taken = self.known.remove(key)?;
        self.bytes -= taken.bytes;
        Some(taken)
    }

    fn of_site<'a, 's>(
        &'a self,
        site: &'s str,
    ) -> impl Iterator<Item = (&'a (String, BootId), &'a Kept)> + use<'a, 's> {
        let from = (site.to_owned(), BootId::new(0));
        self.known.range(from..).take_while(move |((of, _), _)| of == site)
    }
}

/// Bytes of a record besides its value and the site in its key, rounded up.
const RECORD_BYTES: u64 = 64;
/// Notes that are kept at most.
const NOTES_MAX: usize = 4_096;
/// Notes of one session that are news: more of them are not heard.
const NEWS_MAX: usize = 8_192;

fn key_bytes((site, boot): &(String, BootId)) -> Vec<u8> {
    [&boot.get().to_le_bytes(), site.as_bytes()].concat()
}

fn name(key: &[u8]) -> Option<(&str, BootId)> {
    let (boot, site) = key.split_first_chunk()?;
    let site = core::str::from_utf8(site).ok().filter(|site| site_is_valid(site))?;
    Some((site, BootId::new(u64::from_le_bytes(*boot))))
}

impl<M: Media, G: Gate> Node<M, G> {
    /// What is known of this machine's clock since it was started.
    pub fn clock(&self) -> &ClockNote {
        &self.core.clocks.own.note
    }

    /// What is known of the clock that gave an origin's times in an epoch; none if nothing says
    /// that it was wrong.
    pub fn clock_of(&self, origin: &str, epoch: Epoch) -> Option<&ClockNote> {
        let clocks = &self.core.clocks;
        if origin == self.core.settings.site && clocks.own.note.epochs.contains(&epoch) {
            return Some(&clocks.own.note).filter(|note| note.matters());
        }
        let mut notes = clocks.of_site(origin).map(|(_, kept)| &kept.note);
        notes.find(|note| note.epochs.contains(&epoch))
    }

    /// Tells the node above that takes a site's records of its clock.
    pub(crate) fn pass_clock(&mut self, site: &str, note: &ClockNote) {
        let uplink = self.core.gate.uplink_of(site);
        let up = |link: &&mut super::link::Link| {
            link.state.uplink == Some(uplink) && link.session.is_open()
        };
        if let Some(link) = self.links.values_mut().find(up) {
            let note = Box::new(note.clone());
            link.state.says.push_back(Say::Clock { site: site.into(), note });
        }
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Tells a node above of all clocks that are known of those whose records it takes.
    pub(crate) fn tell_clocks(&self, state: &mut LinkState, uplink: Uplink) {
        for ((site, _), kept) in &self.clocks.known {
            if self.gate.uplink_of(site) == uplink {
                let note = Box::new(kept.note.clone());
                state.says.push_back(Say::Clock { site: site.clone(), note });
            }
        }
    }

    /// A node below tells of a clock.
    pub(crate) fn on_clock(
        &mut self,
        state: &mut LinkState,
        clock: &message::Clock<'_>,
    ) -> Result<(), Fault> {
        let malformed = |_: Malformed| Offence::Contradiction.fault();
        let note = ClockNote::decode(clock.boot, clock.note).map_err(malformed)?;
        let Some(peer) = &state.site else { return Ok(()) };
        if clock.site != peer && !self.gate.may_carry(peer, clock.site) {
            self.offence(state, Offence::ForeignOrigin, "what it said of a clock was not heard");
            return Ok(());
        }
        let own = clock.site == self.settings.site;
        if !self.gate.keeps_clocks() || own || !note.matters() || state.clocks >= NEWS_MAX {
            return Ok(());
        }
        if self.keep_clock(clock.site.to_owned(), note) {
            state.clocks += 1;
        }
        Ok(())
    }

    /// Keeps a note in place of an earlier one, if there is room. Whether it was news.
    fn keep_clock(&mut self, site: String, note: ClockNote) -> bool {
        let key = (site, note.boot);
        if self.clocks.known.get(&key).is_some_and(|kept| kept.note == note) {
            return false;
        }
        let budget = self.journal.usage(self.settings.internal_lane()).1 / LANE_PART;
        let known = self.clocks.known.contains_key(&key);
        let full = self.clocks.bytes + NOTE_BYTES_MAX as u64 > budget;
        // What is over the limit of a machine goes when it is written.
        let many = self.clocks.of_site(&key.0).count() >= 2 * BOOTS_MAX;
        if !known && (full || many || self.clocks.known.len() >= NOTES_MAX) {
            return false;
        }
        self.clocks.put(key, note, false);
        true
    }

    /// Looks at this machine's clock, and writes what is known of clocks. Nothing may be staged.
    pub(crate) fn tend_clocks(&mut self, now: Now) {
        self.clocks.own.look(now);
        if !self.knows_internal || self.journal.has_failed() {
            return;
        }
        let own = self.clocks.own.changed && self.clocks.own.note.matters();
        if own {
            self.clocks.own.changed = false;
            let note = self.clocks.own.note.clone();
            self.keep_clock(self.settings.site.clone(), note);
        }
        let since = self.clocks.written_at.map(|at| now.instant.since(at).millis());
        if own || since.is_none_or(|since| since >= WRITE_EVERY_MS) {
            self.write_clocks(now);
        }
    }

    fn write_clocks(&mut self, now: Now) {
        let news = self.clocks.known.iter().filter(|(_, kept)| !kept.written);
        let news: Vec<_> = news.map(|(key, _)| key.clone()).collect();
        if news.is_empty() {
            return;
        }
        self.clocks.written_at = Some(now.instant);
        let mut records = Vec::new();
        for key in &news {
            let value = self.clocks.known.get(key).map(|kept| kept.note.encoded());
            records.push(InternalRecord { topic: TOPIC, key: key_bytes(key), value });
            let of = self.clocks.of_site(&key.0).map(|(key, kept)| (kept.number, key.clone()));
            let mut of: Vec<_> = of.collect();
            of.sort_unstable();
            let old = of.len().saturating_sub(BOOTS_MAX);
            for (_, old) in of.drain(..old) {
                let key = key_bytes(&old);
                self.clocks.take(&old);
                records.push(InternalRecord { topic: TOPIC, key, value: None });
            }
        }
        if self.write_internal(Partition::new(0), &records) {
            for key in &news {
                if let Some(kept) = self.clocks.known.get_mut(key) {
                    kept.written = true;
                    self.notes.push_back(Note::Clock(key.0.clone(), Box::new(kept.note.clone())));
                }
            }
        }
    }
}
