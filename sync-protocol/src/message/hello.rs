//! The hello: who speaks, what it speaks, and where it stands.

use core::fmt;

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::limits::{LANES_MAX, OPENINGS_MAX};
use landfall_core::name::site_is_valid;
use landfall_core::num::{BootId, CommitNo, Epoch, LogId, Timestamp};
use serde::{Deserialize, Serialize};

use super::list::{Item, List};
use super::stream::{Promise, PromiseWire};
use crate::channel::LaneIndex;
use crate::limits::{
    FRAME_BYTES_CAP, FRAME_BYTES_MIN, LANE_NAME_BYTES_MAX, SECRET_BYTES_MAX, SOFTWARE_BYTES_MAX,
    TOKEN_BYTES_MAX,
};
use crate::wire::{CounterWire, IdWire, Input, Output, at_most, printable};

/// The first message of either end. Its form is the same in every version of the protocol, because
/// it is read before one is agreed on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hello<'a> {
    /// What the session needs of the other end.
    pub terms: Terms,
    /// What the node says of itself.
    pub introduction: Introduction<'a>,
}

/// What an end can do and what it grants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Terms {
    /// The oldest version it speaks.
    pub protocol_min: u16,
    /// The newest version it speaks.
    pub protocol_max: u16,
    /// What it can do beyond the version.
    pub features: Features,
    /// The longest frame it takes, in bytes, without the prefix.
    pub frame_bytes_max: usize,
    /// Bytes that the other end may send on lanes until more is granted.
    pub credit: u64,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Introduction<'a> {
    /// Its site.
    pub site: &'a str,
    /// Its journal.
    pub log: LogId,
    /// The epoch under which it writes now.
    pub epoch: Epoch,
    /// The start of its machine.
    pub boot: BootId,
    /// Its software and version, for people; up to 31 bytes.
    pub software: &'a str,
    /// Its clock.
    pub clock: Timestamp,
    /// The journal that its promises of `durable(root)` come from; its own if it has no upstream.
    /// `None` while it does not know.
    pub root: Option<LogId>,
    /// The last promise that it heard from the other end.
    pub promise: Option<Promise>,
    /// Its lanes, in the order of their channels.
    pub lanes: Lanes<'a>,
    /// The token by which it asks to be registered.
    pub enrol: Option<Enrol<'a>>,
    /// Its newest openings, the newest first; up to 32, and no more than fit the frame.
    pub openings: List<'a, Opened>,
}

/// What both ends of a session can do beyond the version they agreed on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features(u32);

/// An opening of a journal: what it continued, and the first commit it wrote.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Opened {
    /// The epoch that was drawn.
    pub epoch: Epoch,
    /// The epoch that it continued; `None` for the first opening of a journal.
    pub parent: Option<Epoch>,
    /// The number of its first commit.
    pub first_commit: CommitNo,
}

/// The lanes of a node.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lanes<'a> {
    lanes: [Option<LaneOffer<'a>>; LANES_MAX],
}

/// A lane and its weight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LaneOffer<'a> {
    /// Its name, up to 15 bytes.
    pub name: &'a str,
    /// The lane with the higher number goes first.
    pub priority: u8,
}

/// Proof that a node may be registered.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Enrol<'a> {
    /// The token's id.
    pub token: &'a str,
    /// The token's secret.
    pub secret: &'a [u8],
}

impl Features {
    /// Nothing beyond the version.
    pub const NONE: Self = Self(0);

    /// With bodies in that codec, 1 to 15, understood. Codec 0, as stored, always is.
    #[must_use]
    pub const fn with_codec(self, codec: u8) -> Self {
        assert!(codec <= 15, "codecs take the lower sixteen bits");
        Self(self.0 | 1 << codec)
    }

    /// Whether bodies in that codec are understood.
    pub const fn has_codec(self, codec: u8) -> bool {
        codec == 0 || (codec <= 15 && self.0 & 1 << codec != 0)
    }

    /// What both can do.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl<'a> Lanes<'a> {
    /// The lanes in the order of their channels. `None` if there are none or more than seven, or if
    /// a name is not a lane's name: 1 to 15 characters that a topic's name may have.
    pub fn new(offers: &[LaneOffer<'a>]) -> Option<Self> {
        let mut lanes = [None; LANES_MAX];
        if offers.is_empty() || offers.len() > LANES_MAX {
            return None;
        }
        for (lane, offer) in lanes.iter_mut().zip(offers) {
            if offer.name.len() > LANE_NAME_BYTES_MAX || !site_is_valid(offer.name) {
                return None;
            }
            *lane = Some(*offer);
        }
        Some(Self { lanes })
    }

    /// The lanes with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (LaneIndex, LaneOffer<'a>)> {
        (0..).map_while(LaneIndex::new).zip(self.lanes.into_iter().flatten())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.iter().count()
    }
}

impl<'a> Hello<'a> {
    /// As much of it as fits the shortest frame: the oldest openings are left out.
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let start = out.len();
        out.value(&HelloWire::from(self))?;
        let mut room = FRAME_BYTES_MIN.saturating_sub(1 + out.len() - start);
        for opened in self.introduction.openings.iter().take(OPENINGS_MAX) {
            let Some(left) = room.checked_sub(opened.encoded_len()) else { break };
            room = left;
            out.item(&opened)?;
        }
        Ok(())
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let wire: HelloWire<'a> = input.value()?;
        let openings = List::take(input, OPENINGS_MAX)?;
        Ok(Self { terms: wire.terms()?, introduction: wire.introduction(openings)? })
    }
}

impl<'a> Item<'a> for Opened {
    fn encoded_len(&self) -> usize {
        Output::len_of(&OpenedWire::from(*self))
    }

    fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        Output::once(out, &OpenedWire::from(*self))
    }

    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut input = Input::new(bytes);
        let wire: OpenedWire = input.value()?;
        let opened = Self {
            epoch: wire.epoch.epoch(),
            parent: wire.parent.map(IdWire::epoch),
            first_commit: wire.first_commit.commit()?,
        };
        Ok((opened, input.rest()))
    }
}

impl fmt::Debug for Enrol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrol({})", self.token)
    }
}

#[derive(Deserialize, Serialize)]
struct HelloWire<'a> {
    protocol_min: u16,
    protocol_max: u16,
    features: u32,
    frame_bytes_max: u32,
    credit: CounterWire,
    site: &'a str,
    log: IdWire,
    epoch: IdWire,
    boot: IdWire,
    software: &'a str,
    clock: i64,
    root: Option<IdWire>,
    promise: Option<PromiseWire>,
    #[serde(borrow)]
    lanes: [Option<(&'a str, u8)>; LANES_MAX],
    #[serde(borrow)]
    enrol: Option<(&'a str, &'a [u8])>,
}

#[derive(Deserialize, Serialize)]
struct OpenedWire {
    epoch: IdWire,
    parent: Option<IdWire>,
    first_commit: CounterWire,
}

impl From<Opened> for OpenedWire {
    fn from(opened: Opened) -> Self {
        Self {
            epoch: opened.epoch.into(),
            parent: opened.parent.map(IdWire::from),
            first_commit: CounterWire(opened.first_commit.get()),
        }
    }
}

impl<'a> From<&Hello<'a>> for HelloWire<'a> {
    fn from(hello: &Hello<'a>) -> Self {
        let (terms, node) = (&hello.terms, &hello.introduction);
        Self {
            protocol_min: terms.protocol_min,
            protocol_max: terms.protocol_max,
            features: terms.features.0,
            frame_bytes_max: u32::try_from(terms.frame_bytes_max).unwrap_or(u32::MAX),
            credit: CounterWire(terms.credit),
            site: node.site,
            log: node.log.into(),
            epoch: node.epoch.into(),
            boot: IdWire(node.boot.get()),
            software: node.software,
            clock: node.clock.get(),
            root: node.root.map(IdWire::from),
            promise: node.promise.map(PromiseWire::from),
            lanes: node.lanes.lanes.map(|lane| lane.map(|offer| (offer.name, offer.priority))),
            enrol: node.enrol.map(|enrol| (enrol.token, enrol.secret)),
        }
    }
}

impl<'a> HelloWire<'a> {
    fn terms(&self) -> Result<Terms, Malformed> {
        if self.protocol_min > self.protocol_max {
            return Err(Malformed::Contradiction);
        }
        let stated = usize::try_from(self.frame_bytes_max).unwrap_or(usize::MAX);
        if stated < FRAME_BYTES_MIN {
            return Err(Malformed::Limit);
        }
        Ok(Terms {
            protocol_min: self.protocol_min,
            protocol_max: self.protocol_max,
            features: Features(self.features),
            frame_bytes_max: stated.min(FRAME_BYTES_CAP),
            credit: self.credit.checked()?,
        })
    }

    fn introduction(&self, openings: List<'a, Opened>) -> Result<Introduction<'a>, Malformed> {
        if !site_is_valid(self.site) {
            return Err(Malformed::Text);
        }
        Ok(Introduction {
            site: self.site,
            log: self.log.log(),
            epoch: self.epoch.epoch(),
            boot: BootId::new(self.boot.0),
            software: printable(self.software, SOFTWARE_BYTES_MAX)?,
            clock: Timestamp::new(self.clock),
            root: self.root.map(IdWire::log),
            promise: self.promise.map(Promise::try_from).transpose()?,
            lanes: self.lanes()?,
            enrol: self.enrol.map(enrol).transpose()?,
            openings,
        })
    }

    fn lanes(&self) -> Result<Lanes<'a>, Malformed> {
        let mut offers = [LaneOffer { name: "", priority: 0 }; LANES_MAX];
        let count = self.lanes.iter().take_while(|lane| lane.is_some()).count();
        if count != self.lanes.iter().flatten().count() {
            return Err(Malformed::Contradiction);
        }
        for (offer, (name, priority)) in offers.iter_mut().zip(self.lanes.iter().flatten()) {
            *offer = LaneOffer { name, priority: *priority };
        }
        Lanes::new(offers.get(..count).unwrap_or_default()).ok_or(Malformed::Text)
    }
}

fn enrol<'a>((token, secret): (&'a str, &'a [u8])) -> Result<Enrol<'a>, Malformed> {
    let token = printable(token, TOKEN_BYTES_MAX)?;
    Ok(Enrol { token, secret: at_most(secret, SECRET_BYTES_MAX)? })
}
