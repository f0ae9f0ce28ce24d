//! How a record came here: the path that stands before its entry.

use landfall_core::entry::{Kind, hops};
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::journal::ReadStep;
use landfall_core::media::Media;
use landfall_core::name::topic_is_internal;
use landfall_core::num::{CommitNo, Lane};

use super::reader::{ENTRY_ROOM, refused_to_read};
use crate::api::{ApiError, Passed, TraceHop};
use crate::node::{Gate, Node};

/// What the node knows of a record by its lane, its commit and its seq.
///
/// # Errors
/// The medium refused to read.
pub(super) fn passed<M: Media, G: Gate>(
    node: &Node<M, G>,
    lane: &str,
    (commit, seq): (u64, u64),
) -> Result<Passed, ApiError> {
    let journal = node.journal();
    let frontier = journal.frontier();
    let topics = (0..frontier.streams()).map(|ix| frontier.name(StreamIx(ix)).topic);
    let mut topics: Vec<String> =
        topics.filter(|topic| !topic_is_internal(topic)).map(str::to_owned).collect();
    topics.sort();
    topics.dedup();
    let mut passed = Passed { topics, path: Vec::new() };
    let lanes = &node.settings().lanes;
    let Some(lane) = lanes.iter().position(|known| known.name == lane) else { return Ok(passed) };
    let lane = Lane::new(lane as u8);
    let mut cursor = journal.near_commit(lane, CommitNo::new(commit));
    let mut buffer = vec![0; ENTRY_ROOM];
    loop {
        match journal.read(lane, &mut cursor, &mut buffer) {
            ReadStep::Entry(entry) => {
                let header = &entry.header;
                if header.commit.get() > commit || header.seq.get() > seq {
                    return Ok(passed);
                }
                // The last one that begins at or before the record has it.
                if matches!(header.kind, Kind::Data | Kind::Snapshot) {
                    let hop = |hop: landfall_core::entry::Hop<'_>| TraceHop {
                        site: hop.site.to_owned(),
                        received_ms: hop.received.get(),
                    };
                    passed.path = hops(entry.path).map_while(Result::ok).map(hop).collect();
                }
            }
            ReadStep::Missing(..) => {}
            ReadStep::End | ReadStep::TooLong(_) => return Ok(passed),
            ReadStep::Failed(error) => return Err(refused_to_read(error)),
        }
    }
}
