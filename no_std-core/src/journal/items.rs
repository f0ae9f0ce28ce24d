//! The items of a checkpoint: what recovery would otherwise have to read the whole journal for.
//!
//! Each item is `tag u8 · length u16 · body`. A checkpoint begins with a node item and ends with an
//! end item; one without its end does not count.
//!
//! ```text
//! 1 node      next_segment u64 · opening u32 · clean u8 · open_time u64
//! 2 opening   opening u32 · epoch u64 · parent u64 · first_commit u64 · boot u64
//! 3 lane      lane u8 · next u64 · first u64 · floor u64 · active u8 · segment u64 · tail u32
//!             · last_crc u32 · last_at u32 · last_seq u64 · footer_known u8
//! 4 branch    stream · kind u8 · first u64 · from u64 · tip · hop u64 · root u64
//!             · mark u64, u64 · gaps u8
//! 5 rung      epoch u64 · next u64 · hash 16          of the branch before
//! 6 producer  id u64 · sequence u64
//! 7 loss      lane u8 · first u64 · end u64 · reason u8 · from u64 · to u64 · after
//!             · known u8 · stream · branch u16
//! 8 end
//! 9 heard     log u64 · epoch u64 · commit u64 · mixed u8    the last promise of the next node
//! 10 durable  segment u64 · open_time u64            since when all of it is durable elsewhere
//! ```
//!
//! A tip is `epoch u64 · next u64 · flag u8 · hash`, a hash that may be absent `flag u8 · hash`.

use super::Journal;
use crate::codec::{Malformed, NoRoom, Reader, Writer};
use crate::control::{hash, offset, point, put_hash, put_point};
use crate::frontier::{Branch, BranchIx, BranchKind, Frontier, Rung, StreamIx};
use crate::gap::GapReason;
use crate::hash::StreamHash;
use crate::heard::Heard;
use crate::limits::COUNTER_MAX;
use crate::media::Media;
use crate::name::StreamId;
use crate::num::{
    BootId, CommitNo, Epoch, Lane, LogId, Offset, OpenTime, Opening, ProducerId, SegmentNo, Seq,
    narrow,
};
use crate::record::Producer;
use crate::tables::{OpeningNote, Tables};

/// The longest body of an item.
pub(crate) const ITEM_BYTES_MAX: usize = 384;
/// The first byte of a checkpoint.
pub(crate) const NODE_TAG: u8 = 1;
/// The last bytes of a checkpoint: an end item.
pub(crate) const END_ITEM: [u8; 3] = [8, 0, 0];
/// Bytes before the body of an item.
pub(crate) const ITEM_HEAD_BYTES: usize = 3;

/// An item as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    Node(NodeItem),
    Opening(OpeningNote),
    Lane(LaneItem),
    Durable(SegmentNo, OpenTime),
    Branch(StreamId<'a>, Branch),
    Rung(Rung),
    Producer(Producer),
    Loss(LossItem<'a>),
    Heard(Heard),
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeItem {
    pub(crate) next_segment: SegmentNo,
    pub(crate) opening: Opening,
    pub(crate) clean: bool,
    pub(crate) open_time: OpenTime,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneItem {
    pub(crate) lane: Lane,
    pub(crate) next: Seq,
    pub(crate) first: Seq,
    pub(crate) floor: SegmentNo,
    pub(crate) active: Option<ActiveItem>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ActiveItem {
    pub(crate) segment: SegmentNo,
    pub(crate) tail: u32,
    pub(crate) last_crc: u32,
    pub(crate) last_at: u32,
    pub(crate) last_seq: Seq,
    pub(crate) footer_known: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LossItem<'a> {
    pub(crate) lane: Lane,
    pub(crate) first: Seq,
    pub(crate) end: Seq,
    pub(crate) reason: GapReason,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) after: Option<StreamHash>,
    pub(crate) stream: Option<(StreamId<'a>, BranchIx)>,
}

/// How far the items of a checkpoint have been gone through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ItemCursor {
    bare: bool,
    stage: Stage,
    at: u32,
    branch: u16,
    rung: u16,
}

impl ItemCursor {
    /// Before the first item. A bare checkpoint leaves out what can be spared: the ladders, which
    /// help to find a fork without reading the log, and since when segments are durable.
    pub(crate) fn new(bare: bool) -> Self {
        Self { bare, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Node,
    Openings,
    Lanes,
    Durable,
    Streams,
    Producers,
    Losses,
    Heard,
    End,
    Over,
}

impl Stage {
    const ORDER: [Self; 10] = [
        Self::Node,
        Self::Openings,
        Self::Lanes,
        Self::Durable,
        Self::Streams,
        Self::Producers,
        Self::Losses,
        Self::Heard,
        Self::End,
        Self::Over,
    ];

    fn next(self) -> Self {
        let at = Self::ORDER.iter().position(|stage| *stage == self).unwrap_or_default();
        Self::ORDER.get(at + 1).copied().unwrap_or(Self::Over)
    }
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Writes the next item of a checkpoint of all that is known. Returns whether there was one.
    pub(crate) fn next_item(
        &self,
        cursor: &mut ItemCursor,
        clean: bool,
        writer: &mut Writer<'_>,
    ) -> Result<bool, NoRoom> {
        while cursor.stage != Stage::Over {
            if self.stage_item(cursor, clean, writer)? {
                return Ok(true);
            }
            let (bare, stage) = (cursor.bare, cursor.stage.next());
            *cursor = ItemCursor { bare, stage, ..ItemCursor::default() };
        }
        Ok(false)
    }

    fn stage_item(
        &self,
        cursor: &mut ItemCursor,
        clean: bool,
        writer: &mut Writer<'_>,
    ) -> Result<bool, NoRoom> {
        let at = cursor.at as usize;
        let there = match cursor.stage {
            Stage::Node | Stage::End => at == 0,
            Stage::Openings => at < self.parts.openings.all().len(),
            Stage::Lanes => at < usize::from(self.config.lanes),
            Stage::Durable => return self.durable_item(cursor, writer),
            Stage::Streams => return self.stream_item(cursor, writer),
            Stage::Producers => at < self.parts.producers.all().len(),
            Stage::Losses => at < self.parts.losses.all().len(),
            Stage::Heard => at < self.heard.iter().count(),
            Stage::Over => false,
        };
        if !there {
            return Ok(false);
        }
        cursor.at += 1;
        match cursor.stage {
            Stage::Node => self.node_item(clean, writer)?,
            Stage::Openings => self.opening_item(at, writer)?,
            Stage::Lanes => self.lane_item(at, writer)?,
            Stage::Producers => self.producer_item(at, writer)?,
            Stage::Losses => self.loss_item(at, writer)?,
            Stage::Heard => self.heard_item(at, writer)?,
            Stage::End => writer.u8(8)?,
            Stage::Durable | Stage::Streams | Stage::Over => {}
        }
        Ok(true)
    }

    fn node_item(&self, clean: bool, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        writer.u8(1)?;
        writer.u64(self.next_segment.get())?;
        writer.u32(self.opening.get())?;
        writer.u8(u8::from(clean))?;
        writer.u64(self.open_time.get())
    }

    fn durable_item(&self, at: &mut ItemCursor, writer: &mut Writer<'_>) -> Result<bool, NoRoom> {
        let slots = self.parts.slots.as_ref().iter().skip(at.at as usize);
        let mut rest = slots.filter(|_| !at.bare);
        let next = rest.find_map(|slot| {
            at.at += 1;
            Some((slot.number, slot.durable_at?))
        });
        let Some((segment, since)) = next else { return Ok(false) };
        writer.u8(10)?;
        writer.u64(segment.get())?;
        writer.u64(since.get())?;
        Ok(true)
    }

    fn heard_item(&self, at: usize, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Some(heard) = self.heard.iter().nth(at) else { return Ok(()) };
        writer.u8(9)?;
        writer.u64(heard.log.get())?;
        writer.u64(heard.epoch.get())?;
        writer.u64(heard.commit.get())?;
        writer.u8(u8::from(heard.mixed))
    }

    fn opening_item(&self, at: usize, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Some(note) = self.parts.openings.all().get(at) else { return Ok(()) };
        writer.u8(2)?;
        writer.u32(note.opening.get())?;
        writer.u64(note.epoch.get())?;
        writer.u64(note.parent.get())?;
        writer.u64(note.first_commit.get())?;
        writer.u64(note.boot.get())
    }

    fn lane_item(&self, at: usize, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let Some(state) = self.lanes.get(at) else { return Ok(()) };
        let slot = state.active.map(|ix| self.slot(ix)).unwrap_or_default();
        writer.u8(3)?;
        writer.u8(at as u8)?;
        writer.u64(state.next.get())?;
        writer.u64(state.first.get())?;
        writer.u64(state.floor.get())?;
        writer.u8(u8::from(state.active.is_some()))?;
        writer.u64(slot.number.get())?;
        writer.u32(slot.tail)?;
        writer.u32(slot.last_crc)?;
        writer.u32(slot.last_at)?;
        writer.u64(slot.last_seq.get())?;
        writer.u8(u8::from(slot.footer_known))
    }

    fn stream_item(&self, at: &mut ItemCursor, writer: &mut Writer<'_>) -> Result<bool, NoRoom> {
        let frontier = &self.parts.frontier;
        while at.at < frontier.streams() {
            let (ix, branch_ix) = (StreamIx(at.at), BranchIx(at.branch));
            let Some(branch) = frontier.branch(ix, branch_ix) else {
                (at.at, at.branch, at.rung) = (at.at + 1, 0, 0);
                continue;
            };
            if at.rung == 0 {
                at.rung = 1;
                branch_item(frontier.name(ix), &branch, writer)?;
                return Ok(true);
            }
            let ladder = if at.bare { &[] } else { frontier.ladder(ix, branch_ix) };
            if let Some(rung) = ladder.get(usize::from(at.rung) - 1) {
                at.rung += 1;
                writer.u8(5)?;
                writer.u64(rung.epoch.get())?;
                writer.u64(rung.next.get())?;
                writer.bytes(&rung.hash.bytes())?;
                return Ok(true);
            }
            (at.branch, at.rung) = (at.branch + 1, 0);
        }
        Ok(false)
    }

    fn producer_item(&self, at: usize, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let slot = self.parts.producers.all().get(at).copied().unwrap_or_default();
        writer.u8(6)?;
        writer.u64(slot.id.get())?;
        writer.u64(slot.settled.unwrap_or_default())
    }

    fn loss_item(&self, at: usize, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
        let loss = self.parts.losses.all().get(at).copied().unwrap_or_default();
        writer.u8(7)?;
        writer.u8(loss.lane.get())?;
        writer.u64(loss.first.get())?;
        writer.u64(loss.end.get())?;
        writer.u8(loss.reason.unwrap_or(GapReason::Damage).code())?;
        writer.u64(loss.from.get())?;
        writer.u64(loss.to.get())?;
        put_hash(writer, loss.after)?;
        match loss.stream {
            None => writer.u8(0),
            Some((ix, branch)) => {
                writer.u8(1)?;
                self.parts.frontier.name(ix).encode(writer)?;
                writer.u16(branch.0)
            }
        }
    }
}

fn branch_item(name: StreamId<'_>, held: &Branch, writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    writer.u8(4)?;
    name.encode(writer)?;
    writer.u8(held.kind.code())?;
    writer.u64(held.first.get())?;
    writer.u64(held.from.get())?;
    put_point(writer, held.tip)?;
    writer.u64(held.hop.get())?;
    writer.u64(held.root.get())?;
    writer.u64(held.mark.0.get())?;
    writer.u64(held.mark.1.get())?;
    writer.u8(u8::from(held.gaps))
}

impl<'a> Item<'a> {
    /// Takes an item off the front of a checkpoint's body.
    pub(crate) fn decode(body: &mut Reader<'a>) -> Result<Self, Malformed> {
        let tag = body.u8()?;
        let len = narrow(u64::from(body.u16()?)).ok_or(Malformed::Limit)?;
        let mut reader = Reader::new(body.bytes(len)?);
        match tag {
            1 => Ok(Self::Node(NodeItem {
                next_segment: SegmentNo::new(reader.counter()?),
                opening: Opening::new(reader.u32()?),
                clean: reader.u8()? != 0,
                open_time: open_time(&mut reader)?,
            })),
            2 => Ok(Self::Opening(OpeningNote {
                opening: Opening::new(reader.u32()?),
                epoch: Epoch::new(reader.u64()?),
                parent: Epoch::new(reader.u64()?),
                first_commit: CommitNo::new(reader.counter()?),
                boot: BootId::new(reader.u64()?),
            })),
            3 => lane(&mut reader).map(Self::Lane),
            4 => branch(&mut reader),
            5 => Ok(Self::Rung(Rung {
                epoch: Epoch::new(reader.u64()?),
                next: offset(&mut reader)?,
                hash: StreamHash::new(reader.array()?),
            })),
            6 => Ok(Self::Producer(Producer {
                id: ProducerId::new(reader.u64()?),
                sequence: reader.u64()?,
            })),
            7 => loss(&mut reader).map(Self::Loss),
            8 => Ok(Self::End),
            9 => Ok(Self::Heard(Heard {
                log: LogId::new(reader.u64()?),
                epoch: Epoch::new(reader.u64()?),
                commit: CommitNo::new(reader.counter()?),
                mixed: reader.u8()? != 0,
            })),
            10 => Ok(Self::Durable(SegmentNo::new(reader.u64()?), open_time(&mut reader)?)),
            _ => Err(Malformed::Unknown),
        }
    }
}

fn open_time(reader: &mut Reader<'_>) -> Result<OpenTime, Malformed> {
    let raw = reader.u64()?;
    if raw > COUNTER_MAX { Err(Malformed::Limit) } else { Ok(OpenTime::new(raw)) }
}

fn lane(reader: &mut Reader<'_>) -> Result<LaneItem, Malformed> {
    let lane = Lane::new(reader.u8()?);
    let next = Seq::new(reader.counter()?);
    let first = Seq::new(reader.counter()?);
    let floor = SegmentNo::new(reader.counter()?);
    let there = reader.u8()? != 0;
    let active = ActiveItem {
        segment: SegmentNo::new(reader.counter()?),
        tail: reader.u32()?,
        last_crc: reader.u32()?,
        last_at: reader.u32()?,
        last_seq: Seq::new(reader.counter()?),
        footer_known: reader.u8()? != 0,
    };
    Ok(LaneItem { lane, next, first, floor, active: there.then_some(active) })
}

fn branch<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, Malformed> {
    let name = StreamId::decode(reader)?;
    let branch = Branch {
        kind: BranchKind::from_code(reader.u8()?)?,
        first: Epoch::new(reader.u64()?),
        from: offset(reader)?,
        tip: point(reader)?,
        hop: offset(reader)?,
        root: offset(reader)?,
        mark: (SegmentNo::new(reader.counter()?), offset(reader)?),
        gaps: reader.u8()? != 0,
    };
    Ok(Item::Branch(name, branch))
}

fn loss<'a>(reader: &mut Reader<'a>) -> Result<LossItem<'a>, Malformed> {
    Ok(LossItem {
        lane: Lane::new(reader.u8()?),
        first: Seq::new(reader.counter()?),
        end: Seq::new(reader.counter()?),
        reason: GapReason::from_code(reader.u8()?)?,
        from: offset(reader)?,
        to: offset(reader)?,
        after: hash(reader)?,
        stream: match reader.u8()? {
            0 => None,
            _ => Some((StreamId::decode(reader)?, BranchIx(reader.u16()?))),
        },
    })
}
