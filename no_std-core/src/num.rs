//! The numbers of a log, each with a type of its own, so that none is taken for another.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number, for formats and messages.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        number! {
            $(#[$doc])*
            $name(u64)
        }

        impl $name {
            /// The first number of its kind.
            pub const ZERO: Self = Self(0);

            /// The number `count` steps on. Formats refuse numbers anywhere near the end of the
            /// range, so that running over it is a broken invariant and not an input.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                assert!(count <= u64::MAX - self.0, "a counter ran over");
                Self(self.0 + count)
            }

            /// How many steps lie between `earlier` and this number; zero if `earlier` is later.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }

            /// The number before this one, if there is one.
            pub const fn before(self) -> Option<Self> {
                match self.0.checked_sub(1) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a raw number; it comes from the node's source of randomness.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The raw number, for formats and messages.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{=u64:016x}", self.0);
            }
        }
    };
}

counter! {
    /// The place of a record in its stream.
    Offset
}
counter! {
    /// The dense number of a record in one lane of this node's journal. Control records take none.
    Seq
}
counter! {
    /// The number of a commit. Commits are numbered node-wide and without holes.
    CommitNo
}
counter! {
    /// The number of an activation of a segment, node-wide and never used twice.
    SegmentNo
}
counter! {
    /// How long a journal has been open, in milliseconds, over all its openings. The calendar has
    /// no say in it.
    OpenTime
}
random_id! {
    /// One opening of a journal for writing. Offsets run on across epochs.
    Epoch
}
random_id! {
    /// The identity of a journal, drawn when it is made. A copy of a journal shares it.
    LogId
}
random_id! {
    /// One start of the machine, as far as the node can tell.
    BootId
}
random_id! {
    /// A producer: the first eight bytes of the SHA-256 of its name.
    ProducerId
}
number! {
    /// A part of a topic.
    Partition(u32)
}
number! {
    /// Counts the openings of one journal. Where two entries disagree, the later opening is right.
    Opening(u32)
}
number! {
    /// Milliseconds since the Unix epoch; negative before 1970.
    Timestamp(i64)
}
number! {
    /// A priority class with segments of its own. 255 is the journal's control lane.
    Lane(u8)
}

impl Opening {
    /// The opening after this one. Four billion openings outlast any medium.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Lane {
    /// Where a journal keeps what it says of itself: openings, checkpoints, gaps, floors.
    pub const CONTROL: Self = Self(255);
}

/// A length in memory as a number of a format. Lossless: no supported machine has wider pointers.
pub(crate) const fn wide(len: usize) -> u64 {
    len as u64
}

/// A number of a format as a length in memory, if this machine can address it.
pub(crate) fn narrow(raw: u64) -> Option<usize> {
    usize::try_from(raw).ok()
}
