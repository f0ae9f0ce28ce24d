//! What is said next: what is urgent, then the entries of the lane, in order.

use embedded_storage::nor_flash::NorFlash;
use landfall_core::batch::{BatchHead, batches};
use landfall_core::checksum::Checksum;
use landfall_core::entry::Kind;
use landfall_core::frontier::{Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Entry, ReadStep};
use landfall_core::name::StreamId;
use landfall_core::num::{Epoch, Offset};
use landfall_protocol::limits::{FRAME_BYTES_MIN, PROTOCOL_MAX, PROTOCOL_MIN};
use landfall_protocol::message::{
    Begin, Clock, Control, Entry as Sent, Features, Gap, Hello, Introduction, LaneMessage,
    LaneOffer, Lanes, List, Opened, Promise, Purpose, StreamPoint, Terms, Tip, Tips,
};

use super::progress::Progress;
use super::{CREDIT_BYTES, Ended, OPENINGS, State, Uplink, clock};
use crate::device::{Device, LANE};

/// Entries that are looked at in one call; most need not be sent again.
const LOOKED_AT: usize = 4;
/// The name of the lane.
const LANE_NAME: &str = "normal";
/// What the hello says of the software.
const SOFTWARE: &str = concat!("landfall-device ", env!("CARGO_PKG_VERSION"));

/// What an entry of the lane calls for.
enum Next {
    /// It is to be sent: its head, and where its body was read to.
    Send(Sent<'static>, usize, usize),
    /// This is to be said of a stream before it.
    Say(StreamIx, Point, Epoch),
    /// The gateway needs nothing of it.
    Pass,
}

impl<const STREAMS: usize> Uplink<'_, STREAMS> {
    /// Puts the next message into the outbox, if there is one.
    pub(super) fn next_message<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
    ) -> Result<(), Ended> {
        if core::mem::take(&mut self.due.hello) {
            return self.say_hello(device);
        }
        if self.state != State::Open {
            return Ok(());
        }
        if core::mem::take(&mut self.due.clock) && self.say_clock(device)? {
            return Ok(());
        }
        let granted = self.inbox.dropped + CREDIT_BYTES;
        let message = if let Some(number) = self.due.pong.take() {
            Control::Pong(number)
        } else if let Some(number) = self.due.probe.take() {
            Control::ProbeAnswer(number)
        } else if core::mem::take(&mut self.due.ping) {
            Control::Ping(1)
        } else if granted - self.granted >= CREDIT_BYTES / 2 {
            self.granted = granted;
            Control::Credit(granted)
        } else if self.due.tips_wanted && !device.staged {
            return self.say_tips(device);
        } else {
            return self.next_entry(device);
        };
        Ok(self.outbox.put_control(&message)?)
    }

    fn say_hello<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) -> Result<(), Ended> {
        let journal = &device.journal;
        let first = Opened {
            epoch: journal.epoch(),
            parent: None,
            first_commit: landfall_core::num::CommitNo::ZERO,
        };
        let mut openings = [first; OPENINGS];
        let notes = journal.openings().iter().rev();
        let count = openings.iter_mut().zip(notes).map(|(opened, note)| {
            let parent = (note.parent.get() != 0).then_some(note.parent);
            *opened = Opened { epoch: note.epoch, parent, first_commit: note.first_commit };
        });
        let count = count.count();
        let boot = journal.openings().last().map(|note| note.boot).unwrap_or_default();
        let lane = [LaneOffer { name: LANE_NAME, priority: 1 }];
        let introduction = Introduction {
            site: device.site,
            log: journal.log(),
            epoch: journal.epoch(),
            boot,
            software: SOFTWARE,
            clock: self.wall,
            root: None,
            promise: journal.heard().last().map(|heard| Promise {
                log: heard.log,
                epoch: heard.epoch,
                commit: heard.commit,
            }),
            lanes: Lanes::new(&lane).ok_or(Ended::Memory)?,
            enrol: None,
            openings: List::new(openings.get(..count).unwrap_or_default()),
        };
        let terms = Terms {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            features: Features::NONE,
            frame_bytes_max: FRAME_BYTES_MIN,
            credit: CREDIT_BYTES,
        };
        Ok(self.outbox.put_control(&Control::Hello(Hello { terms, introduction }))?)
    }

    /// What readers need to know of the device's clock, if there is something.
    // Within its caller it would take 200 bytes more of flash.
    #[inline(never)]
    fn say_clock<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) -> Result<bool, Ended> {
        let (openings, mut note) = (device.journal.openings(), [0; clock::NOTE_BYTES_MAX]);
        let boot = openings.last().map(|opening| opening.boot).unwrap_or_default();
        let Some(note) = self.clock.note(openings, &mut note) else { return Ok(false) };
        let clock = Clock { site: device.site, boot, note };
        self.outbox.put_control(&Control::Clock(clock))?;
        Ok(true)
    }

    /// Where all streams end.
    fn say_tips<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) -> Result<(), Ended> {
        (self.due.tips, self.due.tips_wanted) = (false, false);
        let frontier = device.journal.frontier();
        let tips: [Tip<'_>; STREAMS] = core::array::from_fn(|at| {
            let ix = StreamIx(at as u32);
            let tip = frontier.tip(ix);
            if let (Some(progress), Some(hash)) = (self.streams.get_mut(at), tip.hash)
                && let Some(before) = tip.next.before()
            {
                progress.sent(tip.epoch, before, tip.next, hash);
            }
            let (stream, epoch) = (frontier.name(ix), tip.epoch);
            let point = StreamPoint { stream, epoch, next: tip.next, hash: tip.hash };
            // What is gone is stated when it is asked for.
            Tip { point, first_kept: Offset::ZERO }
        });
        let tips = tips.get(..frontier.streams() as usize).unwrap_or_default();
        let tips = Tips { last: true, tips: List::new(tips) };
        Ok(self.outbox.put_control(&Control::Tips(tips))?)
    }

    fn next_entry<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) -> Result<(), Ended> {
        for _ in 0..LOOKED_AT {
            let mut cursor = self.cursor;
            let buffer = self.outbox.free();
            let start = buffer.as_ptr().addr();
            let next = match device.journal.read(LANE, &mut cursor, buffer) {
                ReadStep::Entry(entry) => {
                    look(&mut self.streams, device, &entry, (start, self.root.is_some()))
                }
                ReadStep::Missing(..) => Next::Pass,
                ReadStep::End => return self.state_gone(device),
                ReadStep::Failed(_) => return Ok(()),
                ReadStep::TooLong(_) => return Err(Ended::Memory),
            };
            match next {
                Next::Pass => self.cursor = cursor,
                Next::Say(ix, at, epoch) => return self.say_missing(device, ix, at, epoch),
                Next::Send(head, at, len) => {
                    if self.allowed - self.spent < (len + super::outbox::HEAD_BYTES_MAX) as u64 {
                        return Ok(());
                    }
                    self.spent += self.outbox.put_entry(&LaneMessage::Entry(head), at, len)?;
                    (self.cursor, self.said) = (cursor, true);
                    let body = self.outbox.free().get(at..at + len).unwrap_or_default();
                    for batch in batches(body, Checksum::PORTABLE).flatten() {
                        advance(&mut self.streams, device, &batch.head);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// At the end of the lane: what is behind what was sent is gone.
    fn state_gone<F: NorFlash>(&mut self, device: &Device<'_, F, STREAMS>) -> Result<(), Ended> {
        // What is staged is no gap, and no end either.
        if device.staged {
            return Ok(());
        }
        // Before the end, a gateway that knows nothing must have heard where the streams begin.
        if self.due.tips {
            return self.say_tips(device);
        }
        let frontier = device.journal.frontier();
        for (ix, progress) in (0..frontier.streams()).map(StreamIx).zip(&self.streams) {
            let tip = frontier.tip(ix);
            if progress.next < tip.next && !progress.refused {
                return self.say_missing(device, ix, tip, tip.epoch);
            }
        }
        Ok(())
    }

    /// Says where a stream begins, or that offsets below a point are gone.
    fn say_missing<F: NorFlash>(
        &mut self,
        device: &Device<'_, F, STREAMS>,
        ix: StreamIx,
        at: Point,
        epoch: Epoch,
    ) -> Result<(), Ended> {
        let Some(progress) = self.streams.get_mut(ix.0 as usize) else { return Ok(()) };
        let stream = device.journal.frontier().name(ix);
        let message = if progress.begun || self.root.is_none() {
            if progress.next < progress.root && self.root.is_none() {
                return Err(Ended::RootUnknown);
            }
            let (from, to) = (progress.next, at.next);
            let reason = reason(device, ix, progress);
            progress.next = to;
            if let Some(hash) = at.hash {
                progress.sent(epoch, from, to, hash);
                progress.sent(Epoch::new(0), from, to, hash);
            }
            LaneMessage::Gap(Gap { stream, from, to, epoch, reason, after: at.hash })
        } else {
            progress.begun = true;
            begin(stream, progress, at, self.root)
        };
        self.said = true;
        self.spent += self.outbox.put_statement(&message)?;
        Ok(())
    }
}

/// Where a stream begins at whoever never saw it: where this device still has it, or where the root
/// had it when the session began.
fn begin<'a>(
    stream: StreamId<'a>,
    progress: &Progress,
    at: Point,
    root: Option<landfall_core::num::LogId>,
) -> LaneMessage<'a> {
    // With nothing durable there is nothing to begin behind, and what is gone is a gap.
    let held = at.next <= progress.root;
    let (next, hash) = if held { (at.next, at.hash) } else { (progress.root, None) };
    let point = StreamPoint { stream, epoch: Epoch::new(0), next, hash };
    LaneMessage::Begin(Begin { point, durable_at: root, reason: GapReason::NeverReceived })
}

/// Why records are gone.
fn reason<F: NorFlash, const STREAMS: usize>(
    device: &Device<'_, F, STREAMS>,
    ix: StreamIx,
    progress: &Progress,
) -> GapReason {
    if progress.next < progress.root {
        return GapReason::AcknowledgedThenLost;
    }
    let losses = device.journal.losses().iter();
    let mut known = losses.filter(|loss| loss.stream.is_some_and(|(of, _)| of == ix));
    known.find_map(|loss| loss.reason).unwrap_or(GapReason::Damage)
}

/// What an entry calls for that was read into a buffer at the address `start`. Where a stream
/// begins is said only if it can be said which journal the root is.
fn look<F: NorFlash, const STREAMS: usize>(
    streams: &mut [Progress; STREAMS],
    device: &Device<'_, F, STREAMS>,
    entry: &Entry<'_>,
    (start, rooted): (usize, bool),
) -> Next {
    let mut wanted = false;
    for batch in batches(entry.body, Checksum::PORTABLE).flatten() {
        let head = batch.head;
        let Some(ix) = device.journal.frontier().find(head.stream) else { return Next::Pass };
        let Some(progress) = streams.get_mut(ix.0 as usize) else { return Next::Pass };
        if entry.header.kind != Kind::Data || progress.refused {
            return Next::Pass;
        }
        if head.end() <= progress.next {
            continue;
        }
        wanted = true;
        if head.base > progress.next || (rooted && !progress.begun && head.base > Offset::ZERO) {
            let at = Point { epoch: head.epoch, next: head.base, hash: Some(head.before) };
            return Next::Say(ix, at, head.epoch);
        }
        progress.begun = true;
    }
    if !wanted {
        return Next::Pass;
    }
    let header = entry.header;
    let head = Sent {
        purpose: Purpose::Uplink,
        seq: header.seq,
        records: header.records,
        codec: 0,
        body_len: header.body_len,
        body_crc: header.body_crc,
        path: &[],
        body: &[],
    };
    // Something torn may have been read before it, so it need not be at the start of the buffer.
    Next::Send(head, entry.body.as_ptr().addr() - start, entry.body.len())
}

/// A batch was sent.
fn advance<F: NorFlash, const STREAMS: usize>(
    streams: &mut [Progress; STREAMS],
    device: &Device<'_, F, STREAMS>,
    head: &BatchHead<'_>,
) {
    let Some(ix) = device.journal.frontier().find(head.stream) else { return };
    let Some(progress) = streams.get_mut(ix.0 as usize) else { return };
    progress.next = progress.next.max(head.end());
    progress.sent(head.epoch, head.base, head.end(), head.after);
}
