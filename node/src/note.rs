//! Notes: what one link has to tell others.

use landfall_core::frontier::{Point, StreamIx};
use landfall_core::media::Media;

use super::clock::ClockNote;
use super::repair::Missing;
use super::root_gap::RootGap;
use super::{Gate, LinkId, Node};

/// Something for other links.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// These streams have become durable at the root.
    Rooted(Vec<StreamIx>),
    /// Nodes below wait for points that lie before what is held here of their streams.
    AskedBefore(Vec<(StreamIx, Point)>),
    /// Such a point is durable at the root.
    RootedBefore(StreamIx, Point),
    /// The upstream node wants a stream again that came from below: from where up to where.
    Wanted(StreamIx, Point, Point),
    /// It wants another branch of a stream of which one has come again.
    WantedNext(StreamIx, Point),
    /// What it wants is missing for good, says who was asked.
    Missing(StreamIx, Missing),
    /// Records are missing at the root.
    RootGap(RootGap),
    /// More is known of the clock of a site.
    Clock(String, Box<ClockNote>),
    /// A link was accepted under a site.
    Arrived(LinkId),
}

impl<M: Media, G: Gate> Node<M, G> {
    /// Passes on what links noted.
    pub(crate) fn pass_notes(&mut self) {
        while let Some(note) = self.core.notes.pop_front() {
            match note {
                Note::Rooted(streams) => self.pass_root(&streams),
                Note::AskedBefore(asked) => self.ask_above(&asked),
                Note::RootedBefore(ix, at) => self.pass_root_before(ix, at),
                Note::Wanted(ix, at, to) => self.pass_wanted(ix, at, to),
                Note::WantedNext(ix, want) => self.send_next(ix, want),
                Note::Missing(ix, missing) => self.pass_missing(ix, missing),
                Note::RootGap(gap) => self.pass_root_gap(&gap),
                Note::Clock(site, note) => self.pass_clock(&site, &note),
                Note::Arrived(id) => self.on_arrival(id),
            }
        }
    }
}
