//! A check of all that a journal holds, from the first entry of each lane to the last: checksums,
//! dense seqs, stream hashes recomputed from the records, streams that go on from batch to batch,
//! and footers that tell what their segments hold. What is there twice, or can be told from the
//! rest, is checked too: headers of segments that hold something, trailers of commits, footers and
//! checkpoints.
//!
//! What the losses name already is found too, and marked as told.

use super::read::Cursor;
use super::scan::Found;
use super::{Journal, footer};
use crate::batch::{Batch, batches};
use crate::codec::Malformed;
use crate::control::{BranchBody, GapBody};
use crate::entry::Kind;
use crate::frontier::{BranchIx, BranchKind, Change, Frontier, Point, StreamIx};
use crate::media::{Media, MediaError, Place, SlotIx};
use crate::num::{Lane, Offset, SegmentNo, Seq};
use crate::segment::entries_at;
use crate::tables::{Loss, SlotState, Tables};

/// Something that is not as it should be, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The lane.
    pub lane: Lane,
    /// The segment.
    pub segment: SegmentNo,
    /// Bytes from the start of the segment's slot.
    pub at: u32,
    /// What was found.
    pub fault: Fault,
}

/// What is not as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// An entry's body does not have its checksum, or can't be read.
    Body,
    /// The buffer is too small for an entry, which takes this many bytes.
    TooLong(u32),
    /// Seqs are missing, up to the second; and whether the losses tell of them.
    Missing(Seq, Seq, bool),
    /// A batch or another body is malformed, or its records do not give its stream hash.
    Batch(Malformed),
    /// Offsets of a stream are missing, up to the second; and whether the losses tell of them.
    Gap(Offset, Offset, bool),
    /// A batch goes on from nothing that stands before it.
    Stream,
    /// A footer does not tell what its segment holds, or is no longer found.
    Footer,
    /// One of the two headers of a segment is damaged; the other one serves.
    Header,
    /// The trailer of a commit is damaged. It counts only for the last commit of all.
    Trailer,
    /// Where an entry should begin, there is none, and no record is missing: it told what can be
    /// told from the rest. Flash can't tell it from what a power cut left.
    Stray,
    /// The journal says of a stream that it ends elsewhere than it does.
    Tip(StreamIx),
}

/// Takes the findings.
pub type Tell<'a> = &'a mut dyn FnMut(Finding);

/// How far a check has come.
struct Check<'a, 'b, F> {
    tips: &'a mut F,
    tell: &'a mut (dyn FnMut(Finding) + 'b),
    place: Finding,
    next: Seq,
    /// Whether something was found in this segment, so that its footer can't agree.
    spoilt: bool,
    /// The checksum of the last header that was found in the lane, and where.
    last: Option<(u32, Finding)>,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Checks everything. `tips` is a frontier of the same kind without any streams, `buffer` must
    /// hold the largest entry.
    ///
    /// # Errors
    /// The medium refused to read; not all was checked.
    pub fn verify(
        &self,
        tips: &mut T::Frontier,
        buffer: &mut [u8],
        tell: Tell<'_>,
    ) -> Result<(), MediaError> {
        let (segment, at, fault) = (SegmentNo::ZERO, 0, Fault::Body);
        for lane in (0..self.config.lanes).map(Lane::new) {
            let place = Finding { lane, segment, at, fault };
            let next = self.seqs(lane).0;
            let mut check = Check { tips, tell, place, next, spoilt: false, last: None };
            self.verify_lane(&mut check, buffer)?;
        }
        let place = Finding { lane: Lane::CONTROL, segment, at, fault };
        let mut check = Check { tips, tell, place, next: Seq::ZERO, spoilt: false, last: None };
        self.verify_lane(&mut check, buffer)?;
        for ix in (0..tips.streams()).map(StreamIx) {
            if !self.ends_as_it_says(tips, ix) {
                let fault = Fault::Tip(ix);
                tell(Finding { lane: Lane::CONTROL, segment, at, fault });
            }
        }
        Ok(())
    }

    fn verify_lane(
        &self,
        check: &mut Check<'_, '_, T::Frontier>,
        buffer: &mut [u8],
    ) -> Result<(), MediaError> {
        let lane = check.place.lane;
        let mut newest = Cursor::default().newest;
        let mut slot = self.next_slot(lane, SegmentNo::ZERO);
        while let Some(ix) = slot {
            let held = self.slot(ix);
            check.place = Finding { segment: held.number, at: 0, ..check.place };
            check.spoilt = false;
            self.verify_seqs(check, held.base_seq);
            let mut expected = Some(entries_at(self.shape)).filter(|_| self.shape.overwrites);
            let mut cursor = Cursor { segment: held.number, newest, ..Cursor::default() };
            while let Some(found) = self.next_entry(ix, held.tail, &cursor, buffer)? {
                if cursor.at == 0 {
                    self.verify_beginning(check, ix, &found)?;
                }
                cursor.at = found.next;
                cursor.newest = (found.header.opening, found.header.commit);
                if found.header.seq <= check.next && expected.is_some_and(|at| at < found.at) {
                    check.place.at = expected.unwrap_or_default();
                    check.tell_of(Fault::Stray);
                }
                expected = self.expected_behind(&found);
                check.place.at = found.at;
                check.last = Some((found.crc, check.place));
                if found.header.last && found.trailer.is_none() {
                    check.tell_of(Fault::Trailer);
                }
                let len = found.header.body_len;
                let Some(body) = buffer.get_mut(..len as usize) else {
                    check.found(Fault::TooLong(len));
                    check.next = found.header.end_seq();
                    continue;
                };
                let at = found.at + found.header.body_at() as u32;
                let read = self.media.read(Place { slot: ix, at }, body);
                if matches!(read, Err(error) if error != MediaError::Unreadable) {
                    return read;
                }
                if !found.intact || read.is_err() {
                    check.found(Fault::Body);
                    continue;
                }
                self.verify_seqs(check, found.header.seq);
                check.next = found.header.end_seq();
                self.verify_entry(check, &found, body);
            }
            if held.state == SlotState::Active && cursor.at == 0 {
                check.goes_on_from(held.last_crc);
            }
            newest = cursor.newest;
            slot = self.next_slot(lane, held.number.plus(1));
        }
        self.verify_seqs(check, self.seqs(lane).1);
        Ok(())
    }

    /// Looks at the headers of a segment that holds something, and whether its first entry was
    /// written behind the last one that is found in the lane before it. In a segment without
    /// entries a power cut or a failed sync may have torn a header.
    fn verify_beginning(
        &self,
        check: &mut Check<'_, '_, T::Frontier>,
        ix: SlotIx,
        first: &Found,
    ) -> Result<(), MediaError> {
        if !self.has_both_headers(ix)? {
            check.tell_of(Fault::Header);
        }
        // If records are missing, that is told.
        if first.header.seq <= check.next {
            check.goes_on_from(first.header.before);
        }
        Ok(())
    }

    /// Where the next entry must begin, if nothing else may stand between: flash keeps what a power
    /// cut tore.
    fn expected_behind(&self, found: &Found) -> Option<u32> {
        let closed = !found.header.last || found.trailer.is_some();
        Some(found.next).filter(|_| closed && self.shape.overwrites)
    }

    fn verify_seqs(&self, check: &mut Check<'_, '_, T::Frontier>, seq: Seq) {
        let (lane, next) = (check.place.lane, check.next);
        if seq <= next {
            return;
        }
        let covers = |loss: &Loss, at: Seq| loss.lane == lane && loss.first <= at && loss.end > at;
        let losses = self.parts.losses.all();
        // From loss to loss, as far as they reach.
        let mut told = next;
        while let Some(loss) = losses.iter().find(|loss| covers(loss, told)) {
            told = loss.end;
        }
        check.found(Fault::Missing(next, seq, told >= seq));
        check.next = seq;
    }

    fn verify_entry(&self, check: &mut Check<'_, '_, T::Frontier>, found: &Found, body: &[u8]) {
        match found.header.kind {
            Kind::Data | Kind::Snapshot | Kind::Repair => {
                for batch in batches(body, self.config.checksum) {
                    match batch.and_then(|batch| batch.verify().map(|()| batch)) {
                        Err(fault) => check.found(Fault::Batch(fault)),
                        Ok(batch) if found.header.kind == Kind::Data => {
                            self.verify_batch(check, &batch);
                        }
                        Ok(_) => {}
                    }
                }
            }
            Kind::Gap => check.gap(body),
            Kind::Branch => check.branch(body),
            Kind::Footer => self.verify_footer(check, body),
            Kind::Cut | Kind::Checkpoint | Kind::Unknown(_) => {}
        }
        check.tips.settle();
    }

    fn verify_batch(&self, check: &mut Check<'_, '_, T::Frontier>, batch: &Batch<'_>) {
        let head = &batch.head;
        let Ok(ix) = check.tips.add(head.stream) else { return };
        let change = Change::Batch(head.extent(), check.place.segment);
        let at = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
        let tip = check.tips.tip(ix);
        let first = head.epoch;
        let before = if check.tips.branch(ix, BranchIx::MAIN).is_none() {
            // What came before is dropped, or is told by a branch.
            Change::Branch { kind: BranchKind::Main, first, at }
        } else if check.tips.meeting(ix, &head.extent()).is_some() {
            let _ = check.tips.apply(ix, change);
            return;
        } else if head.base > tip.next {
            let told = self.tells(check.tips, ix, tip.next, head.base);
            check.found(Fault::Gap(tip.next, head.base, told));
            Change::Gap { branch: BranchIx::MAIN, to: head.base, after: Some(head.before) }
        } else {
            check.found(Fault::Stream);
            Change::Branch { kind: BranchKind::Fork, first, at }
        };
        // Where there is no room for a branch, the rest of it is found not to go on either.
        let _ = check.tips.apply(ix, before).and_then(|_| check.tips.apply(ix, change));
    }

    /// Whether losses name all offsets between two of a stream.
    fn tells(&self, tips: &T::Frontier, ix: StreamIx, from: Offset, to: Offset) -> bool {
        let own = self.parts.frontier.find(tips.name(ix));
        let mut told = from;
        while let Some(loss) = self.parts.losses.all().iter().find(|loss| {
            let same = loss.stream.is_some_and(|(ix, _)| Some(ix) == own);
            same && loss.from <= told && loss.to > told
        }) {
            told = loss.to;
        }
        told >= to
    }

    fn verify_footer(&self, check: &mut Check<'_, '_, T::Frontier>, body: &[u8]) {
        let segment = check.place.segment;
        let (mut told, mut agree) = (0, true);
        for span in footer::spans(body) {
            let Ok(span) = span else {
                agree = false;
                break;
            };
            told += 1;
            let ix = check.tips.find(span.stream);
            agree &= ix.is_some_and(|ix| {
                let mut branches = check.tips.branches(ix);
                branches.any(|(_, held)| held.tip == span.to && held.mark == (segment, span.from))
            });
        }
        let streams = (0..check.tips.streams()).map(StreamIx);
        let held = streams.flat_map(|ix| check.tips.branches(ix));
        let held = held.filter(|(_, branch)| branch.mark.0 == segment).count();
        if !check.spoilt && (!agree || told != held) {
            check.found(Fault::Footer);
        }
    }

    fn ends_as_it_says(&self, tips: &T::Frontier, ix: StreamIx) -> bool {
        let Some(own) = self.parts.frontier.find(tips.name(ix)) else { return false };
        tips.branches(ix).all(|(_, found)| {
            let mut said = self.parts.frontier.branches(own);
            said.any(|(_, said)| {
                let (from, to) = (found.tip.next, said.tip.next);
                said.tip == found.tip || (to > from && self.tells(tips, ix, from, to))
            })
        })
    }
}

impl<F: Frontier> Check<'_, '_, F> {
    fn found(&mut self, fault: Fault) {
        self.spoilt = true;
        self.tell_of(fault);
    }

    /// The same of what no footer tells of.
    fn tell_of(&mut self, fault: Fault) {
        (self.tell)(Finding { fault, ..self.place });
    }

    /// The segment that begins here was begun behind an entry with this checksum, if that is known.
    /// Of those that take no seq, a footer stands last.
    fn goes_on_from(&mut self, before: u32) {
        let last = self.last.filter(|(crc, _)| before != 0 && *crc != before);
        if let Some((_, place)) = last {
            (self.tell)(Finding { fault: Fault::Footer, ..place });
        }
    }

    fn gap(&mut self, body: &[u8]) {
        let gap = match GapBody::decode(body) {
            Ok(gap) => gap,
            Err(fault) => return self.found(Fault::Batch(fault)),
        };
        let Some(ix) = self.tips.find(gap.stream) else { return };
        // Where the beginning of a branch is dropped, it goes by another name here.
        let branch = self.tips.named(ix, gap.branch).unwrap_or(BranchIx::MAIN);
        let _ = self.tips.apply(ix, Change::Gap { branch, to: gap.to, after: gap.after });
    }

    fn branch(&mut self, body: &[u8]) {
        let begun = match BranchBody::decode(body) {
            Ok(begun) => begun,
            Err(fault) => return self.found(Fault::Batch(fault)),
        };
        let Ok(ix) = self.tips.add(begun.stream) else { return };
        let change = Change::Branch { kind: begun.kind, first: begun.first, at: begun.at };
        let _ = self.tips.apply(ix, change);
    }
}
