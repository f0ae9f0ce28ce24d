//! Loading a checkpoint into the tables.

use super::items::{Item, LaneItem, LossItem};
use super::replay::Replay;
use crate::codec::{Malformed, Reader};
use crate::frontier::{Frontier, StreamIx};
use crate::heard::Promises;
use crate::num::{OpenTime, Opening, SegmentNo};
use crate::tables::{Loss, Slot, SlotState, Tables};

/// How far a checkpoint has been loaded, and what it says of the node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loading {
    pub(crate) clean: bool,
    pub(crate) next_segment: SegmentNo,
    pub(crate) opening: Opening,
    pub(crate) heard: Promises,
    pub(crate) open_time: OpenTime,
    stream: Option<StreamIx>,
}

impl<T: Tables> Replay<'_, T> {
    /// Takes the body of a checkpoint's entry into the tables.
    pub(crate) fn load(&mut self, body: &[u8], state: &mut Loading) -> Result<(), Malformed> {
        let mut reader = Reader::new(body);
        while !reader.is_empty() {
            match Item::decode(&mut reader)? {
                Item::Node(node) => {
                    state.next_segment = node.next_segment;
                    state.opening = node.opening;
                    state.clean = node.clean;
                    state.open_time = node.open_time;
                }
                Item::Opening(note) => self.openings.push(note),
                Item::Lane(lane) => self.load_lane(&lane, state.next_segment),
                Item::Branch(name, branch) => {
                    let ix = self.frontier.add(name).map_err(|_| Malformed::Limit)?;
                    self.frontier.restore(ix, branch).map_err(|_| Malformed::Limit)?;
                    state.stream = Some(ix);
                }
                Item::Rung(rung) => {
                    if let Some(ix) = state.stream {
                        self.frontier.climb(ix, rung);
                    }
                }
                Item::Producer(producer) => self.producers.found(producer),
                Item::Loss(loss) => self.load_loss(&loss),
                Item::Durable(segment, at) => self.load_durable(segment, at),
                Item::Heard(heard) => state.heard.note(heard),
                Item::End => {}
            }
        }
        Ok(())
    }

    fn load_lane(&mut self, item: &LaneItem, next_segment: SegmentNo) {
        let Some(state) = self.lanes.get_mut(usize::from(item.lane.get())) else { return };
        state.next = item.next;
        state.first = item.first;
        state.floor = item.floor;
        state.checkpointed = Some(item.active.map_or(next_segment, |active| active.segment));
        let Some(active) = item.active else { return };
        let slots = self.slots.as_mut().iter_mut();
        let mut held = slots.filter(|slot| slot.state != SlotState::Free && slot.lane == item.lane);
        if let Some(slot) = held.find(|slot| slot.number == active.segment) {
            slot.tail = active.tail;
            slot.last_crc = active.last_crc;
            slot.last_at = active.last_at;
            slot.last_seq = active.last_seq;
            slot.footer_known = active.footer_known;
        }
    }

    fn load_durable(&mut self, segment: SegmentNo, at: OpenTime) {
        let mut slots = self.slots.as_mut().iter_mut();
        let sealed = |slot: &&mut Slot| slot.state == SlotState::Sealed && slot.number == segment;
        if let Some(slot) = slots.find(sealed) {
            slot.durable_at = Some(at);
        }
    }

    fn load_loss(&mut self, item: &LossItem<'_>) {
        let stream = item.stream.and_then(|(name, branch)| {
            let ix = self.frontier.find(name)?;
            Some((ix, branch))
        });
        let (lane, first, end) = (item.lane, item.first, item.end);
        let (from, to, after, reason) = (item.from, item.to, item.after, Some(item.reason));
        self.losses.push(Loss { lane, first, end, stream, from, to, after, reason });
    }
}
