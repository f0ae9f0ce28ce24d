//! What a node asks for of the one above it: a copy of a topic.

use landfall_core::codec::{Malformed, NoRoom};

use super::list::List;
use super::stream::StreamPoint;
use super::topic;
use crate::limits::STREAMS_MAX;
use crate::wire::{Input, Output};

/// A topic that the sender wants a copy of, and what it has of it: where it is to go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Whether all that the sender has of it has been told now. Nothing is sent before.
    pub last: bool,
    /// The ends of the branches that the sender has of its streams; up to 256.
    pub held: List<'a, StreamPoint<'a>>,
}

impl<'a> Subscribe<'a> {
    pub(crate) fn put(&self, out: &mut Output<'_>) -> Result<(), NoRoom> {
        out.value(&(self.topic, self.last))?;
        self.held.put(out, STREAMS_MAX)
    }

    pub(crate) fn take(input: &mut Input<'a>) -> Result<Self, Malformed> {
        let (name, last): (&'a str, bool) = input.value()?;
        let held: List<'a, StreamPoint<'a>> = List::take(input, STREAMS_MAX)?;
        if held.iter().any(|point| point.stream.topic != name) {
            return Err(Malformed::Contradiction);
        }
        Ok(Self { topic: topic(name)?, last, held })
    }
}
