//! The sink: where a session's messages go.

use landfall_core::media::Media;
use landfall_protocol::channel::LaneIndex;
use landfall_protocol::message::{Control, LaneMessage, Purpose};
use landfall_protocol::session::{Fault, Receiver};

use super::link::LinkState;
use super::{Core, Direction, Gate, Now, Offence};

/// The node as a session of a link sees it.
pub(crate) struct Sink<'a, M: Media, G> {
    pub(crate) core: &'a mut Core<M, G>,
    pub(crate) state: &'a mut LinkState,
    pub(crate) now: Now,
}

impl<M: Media, G: Gate> Receiver for Sink<'_, M, G> {
    fn on_control(&mut self, message: Control<'_>) -> Result<(), Fault> {
        let (core, state) = (&mut *self.core, &mut *self.state);
        let from_below = state.direction == Direction::Down;
        match message {
            Control::Durable(_) if from_below => return Err(Offence::FalsePromise.fault()),
            // To tell all tips would cost much, and betray the streams of others.
            Control::Diverged(_)
            | Control::CopySeen(_)
            | Control::RootGap(_)
            | Control::TipsWanted
                if from_below =>
            {
                return Err(Offence::WrongDirection.fault());
            }
            Control::Hello(hello) => core.on_hello(state, &hello),
            Control::Accept(site) => core.on_accept(state, site),
            Control::Goodbye(goodbye) => core.on_goodbye(state, &goodbye, self.now),
            Control::Tips(tips) => core.on_tips(state, &tips),
            Control::TipsWanted => core.say_tips(state, true),
            Control::Durable(durable) => core.on_durable(state, &durable),
            Control::NeedFrom(point) if from_below => return core.on_copy_wanted(state, &point),
            Control::NeedFrom(point) => core.on_need_from(state, &point),
            Control::Refused(refused) => core.on_refused(state, &refused),
            Control::Diverged(diverged) => core.on_diverged(&diverged),
            Control::CopySeen(epoch) => core.on_copy_seen(epoch),
            Control::PromiseLacking(promise) => core.on_promise_lacking(state, promise),
            Control::Promised(promise) if from_below => core.check_promise(state, promise),
            Control::Standing(standing) => core.on_standing(state, standing, self.now),
            Control::RootGap(gap) => core.on_root_gap(&gap),
            Control::Clock(_) if !from_below => return Err(Offence::WrongDirection.fault()),
            Control::Clock(clock) => return core.on_clock(state, &clock),
            Control::Subscribe(subscribe) => return core.on_subscribe(state, &subscribe),
            _ => {}
        }
        Ok(())
    }

    fn on_lane(
        &mut self,
        lane: LaneIndex,
        message: LaneMessage<'_>,
        cost: usize,
    ) -> Result<(), Fault> {
        self.state.consumed += cost;
        let lane = self.state.lane_of(self.core, lane);
        self.state.purpose = match (&message, self.state.direction) {
            (LaneMessage::Entry(entry), _) => entry.purpose,
            (_, Direction::Up) => Purpose::Down,
            (_, Direction::Down) => Purpose::Uplink,
        };
        match message {
            LaneMessage::Entry(entry) => self.core.on_entry(self.state, lane, &entry, self.now),
            LaneMessage::Gap(gap) => self.core.on_gap(self.state, lane, &gap),
            LaneMessage::Begin(begin) => self.core.on_begin(self.state, lane, &begin),
            LaneMessage::Level(topic) => self.core.on_level(self.state, topic),
        }
    }
}
