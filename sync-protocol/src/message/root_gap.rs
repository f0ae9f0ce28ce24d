//! What a node tells of the root to where records came from.

use landfall_core::codec::{Malformed, NoRoom};
use landfall_core::name::StreamId;
use landfall_core::num::Offset;

use crate::limits::TEXT_BYTES_MAX;
use crate::wire::{CounterWire, Input, Output, StreamWire, cut, printable};

/// Offsets of a stream that the root was brought and could not store. Gaps are final.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RootGap<'a> {
    /// The stream.
    pub stream: StreamId<'a>,
    /// The first offset that is missing there.
    pub from: Offset,
    /// The offset after the last one.
    pub to: Offset,
    /// Why, for people; up to 120 bytes, the rest is cut.
    pub text: &'a str,
}

impl<'a> RootGap<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        let ends = (CounterWire(self.from.get()), CounterWire(self.to.get()));
        out.value(&(StreamWire::from(self.stream), ends, cut(self.text, TEXT_BYTES_MAX)))
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        type Wire<'a> = (StreamWire<'a>, (CounterWire, CounterWire), &'a str);
        let (stream, (from, to), text): Wire<'a> = input.value()?;
        let (from, to) = (Offset::new(from.checked()?), Offset::new(to.checked()?));
        if from >= to {
            return Err(Malformed::Contradiction);
        }
        let text = printable(text, TEXT_BYTES_MAX)?;
        Ok(Self { stream: stream.try_into()?, from, to, text })
    }
}
