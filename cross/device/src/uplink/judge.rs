//! What the gateway says, and what follows from it.

use embedded_storage::nor_flash::NorFlash;
use landfall_core::frontier::{BranchIx, Frontier};
use landfall_core::heard::Heard;
use landfall_core::num::Offset;
use landfall_protocol::limits::{PROTOCOL_MAX, PROTOCOL_MIN};
use landfall_protocol::message::{Control, Decoded, Durable, Hello, Refused, Scope, StreamPoint};
use landfall_protocol::time::Instant;

use super::{Ended, State, Uplink};
use crate::device::{Device, LANE};

impl<const STREAMS: usize> Uplink<'_, STREAMS> {
    /// Takes the frame that has come whole, if there is one.
    pub(super) fn judge<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        now: Instant,
    ) -> Result<(), Ended> {
        // What it lends must not be lent of the whole uplink.
        let inbox = core::mem::replace(&mut self.inbox, super::inbox::Inbox::new(&mut []));
        let judged = match inbox.frame().map(Control::decode) {
            None => Ok(()),
            Some(Err(_)) => Err(Ended::PeerAtFault),
            Some(Ok(Decoded::Ignored)) => Ok(()),
            Some(Ok(Decoded::Message(message))) => self.on_control(device, &message, now),
        };
        let whole = inbox.frame().is_some();
        self.inbox = inbox;
        if whole {
            self.inbox.settle();
        }
        judged
    }

    fn on_control<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        message: &Control<'_>,
        now: Instant,
    ) -> Result<(), Ended> {
        match (self.state, message) {
            (_, Control::Goodbye(goodbye)) => Err(Ended::Goodbye(goodbye.code)),
            (State::Greeting(since), Control::Hello(hello)) => self.on_hello(hello, since, now),
            (State::Waiting(_), Control::Accept(_)) => {
                self.open(device);
                Ok(())
            }
            (State::Open, _) => self.on_open(device, message),
            _ => Err(Ended::PeerAtFault),
        }
    }

    fn on_hello(&mut self, hello: &Hello<'_>, called: Instant, now: Instant) -> Result<(), Ended> {
        let terms = &hello.terms;
        if PROTOCOL_MAX.min(terms.protocol_max) < PROTOCOL_MIN.max(terms.protocol_min) {
            return Err(Ended::Incompatible);
        }
        self.clock.hear(hello.introduction.clock, called, now);
        self.allowed = terms.credit;
        self.peer = Some(hello.introduction.log);
        self.root = hello.introduction.root;
        self.state = State::Waiting(now);
        Ok(())
    }

    fn on_open<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        message: &Control<'_>,
    ) -> Result<(), Ended> {
        match message {
            Control::Hello(_) | Control::Accept(_) => return Err(Ended::PeerAtFault),
            Control::Ping(number) => self.due.pong = Some(*number),
            Control::Probe(number) => self.due.probe = Some(*number),
            Control::Credit(total) if *total < self.allowed => return Err(Ended::PeerAtFault),
            Control::Credit(total) => self.allowed = *total,
            Control::TipsWanted => self.due.tips_wanted = true,
            Control::Durable(durable) => self.on_durable(device, durable),
            Control::NeedFrom(point) => self.on_need(device, point),
            Control::Refused(refused) => self.on_refused(device, refused),
            Control::Diverged(_) | Control::CopySeen(_) => self.parted = true,
            // Pongs were heard, which is all they are for; what a gateway lacks it asks for next.
            _ => {}
        }
        Ok(())
    }

    fn on_durable<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        durable: &Durable<'_>,
    ) {
        let promise = durable.promise;
        if Some(promise.log) == self.peer {
            let (log, epoch, commit) = (promise.log, promise.epoch, promise.commit);
            device.journal.heard_mut().note(Heard { log, epoch, commit, mixed: false });
        }
        if durable.scope == Scope::Root {
            self.root = Some(promise.log);
        }
        for point in durable.streams.iter() {
            let Some(ix) = device.journal.frontier().find(point.stream) else { continue };
            let progress = self.streams.get(ix.0 as usize);
            if progress.is_some_and(|sent| sent.covers(point.epoch, point.next, point.hash)) {
                let root = if durable.scope == Scope::Root { point.next } else { Offset::ZERO };
                let frontier = device.journal.frontier_mut();
                frontier.promise(ix, BranchIx::MAIN, point.next, root);
            }
        }
    }

    /// Records are wanted again: the lane is read from its start, and what is had is passed over.
    fn on_need<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        point: &StreamPoint<'_>,
    ) {
        let Some(ix) = device.journal.frontier().find(point.stream) else { return };
        if let Some(progress) = self.streams.get_mut(ix.0 as usize) {
            // Who asks for the very start may never have seen the stream. Once it was told where
            // the stream begins, what it asks for and is gone is a gap.
            progress.begun |= point.next > Offset::ZERO;
            progress.next = point.next;
            self.cursor = device.journal.first(LANE);
        }
    }

    fn on_refused<F: NorFlash>(
        &mut self,
        device: &mut Device<'_, F, STREAMS>,
        refused: &Refused<'_>,
    ) {
        let Some(ix) = device.journal.frontier().find(refused.stream) else { return };
        if let Some(progress) = self.streams.get_mut(ix.0 as usize) {
            progress.refused = true;
        }
    }
}
