//! The ordered byte channels of a connection: one for control, one for each lane.

use core::fmt;

use crate::limits::CHANNELS_MAX;
use landfall_core::limits::LANES_MAX;

/// A channel of a connection. A transport keeps the bytes of each in order, with back-pressure.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Channel(u8);

/// The place of a lane in the list of lanes that its sender's hello gives, 0 to 6.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LaneIndex(u8);

impl Channel {
    /// Where the session itself is spoken of.
    pub const CONTROL: Self = Self(0);

    /// The channel of that number, if there can be one.
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < CHANNELS_MAX { Some(Self(number)) } else { None }
    }

    /// The channel of a lane.
    pub const fn of_lane(lane: LaneIndex) -> Self {
        Self(lane.0 + 1)
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The lane whose channel it is; `None` for control.
    pub const fn lane(self) -> Option<LaneIndex> {
        match self.0.checked_sub(1) {
            Some(lane) => Some(LaneIndex(lane)),
            None => None,
        }
    }
}

impl LaneIndex {
    /// The lane at that place, if there can be one.
    pub const fn new(index: u8) -> Option<Self> {
        if (index as usize) < LANES_MAX { Some(Self(index)) } else { None }
    }

    /// Its place in the list.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lane() {
            Some(lane) => lane.fmt(f),
            None => f.write_str("control"),
        }
    }
}

impl fmt::Display for LaneIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}", self.0)
    }
}
