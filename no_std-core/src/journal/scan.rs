//! Scanning a segment: finding its entries, and telling valid ones from torn, void and stale ones.
//!
//! - An entry counts if its header validates at its place. Its body may still be damaged.
//! - Entries lie one behind the other. Where none stands as expected, the scan looks on in steps of
//!   8 bytes, as far as a commit may reach.
//! - A *span* is a run of entries of one commit under one opening. It is whole if the entries
//!   are numbered through, linked by their checksums, undamaged, and closed by a trailer.
//! - A span is void if a later opening begins again at its commit or before it: then a power cut
//!   had torn it. It is stale if it comes behind a later commit or opening: then it was left from
//!   bytes that were since written over.

use super::window::Window;
use crate::checksum::Checksum;
use crate::codec::Malformed;
use crate::entry::{ENTRY_HEADER_BYTES, EntryHeader, Standing, Trailer};
use crate::limits::COMMIT_BYTES_MAX;
use crate::media::{Geometry, Media};
use crate::num::{CommitNo, LogId, Opening, SegmentNo};

/// What is needed to tell a segment's entries from other bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) log: LogId,
    pub(crate) segment: SegmentNo,
    pub(crate) shape: Geometry,
    pub(crate) checksum: Checksum,
    /// Entries of this commit and later ones are void: the lane's next segment begins there.
    pub(crate) void_from: Option<CommitNo>,
}

/// An entry as it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) at: u32,
    pub(crate) header: EntryHeader,
    pub(crate) crc: u32,
    /// Whether the body has its checksum.
    pub(crate) intact: bool,
    /// The trailer, if it is the last of its commit and the trailer is valid.
    pub(crate) trailer: Option<Trailer>,
    /// Where the next entry is to be expected.
    pub(crate) next: u32,
}

/// A run of entries of one commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Where its first entry stands.
    pub(crate) at: u32,
    /// Where it ends.
    pub(crate) end: u32,
    pub(crate) first: EntryHeader,
    pub(crate) commit: CommitNo,
    pub(crate) opening: Opening,
    /// Header checksum of its last entry.
    pub(crate) last_crc: u32,
    /// Its trailer, if it is whole.
    pub(crate) whole: Option<Trailer>,
}

/// A walk over the spans of a segment.
pub(crate) struct Scan<'a, M> {
    pub(crate) window: Window<'a, M>,
    pub(crate) frame: Frame,
    pub(crate) place: ScanPlace,
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanPlace {
    at: u32,
    ahead: Option<Found>,
    newest: (Opening, CommitNo),
}

impl ScanPlace {
    /// At the start of an entry or behind the last one.
    pub(crate) fn new(at: u32) -> Self {
        Self::behind(at, (Opening::new(0), CommitNo::ZERO))
    }

    /// The same, behind all that belongs to a commit or to earlier ones.
    pub(crate) fn behind(at: u32, newest: (Opening, CommitNo)) -> Self {
        Self { at, ahead: None, newest }
    }
}

impl<M: Media> Scan<'_, M> {
    /// The next span that is neither void nor stale.
    pub(crate) fn next_span(&mut self) -> Option<Span> {
        loop {
            let span = self.gather()?;
            let known = (span.opening, span.commit);
            let stale = span.opening < self.place.newest.0 || span.commit <= self.place.newest.1;
            let stale = stale && self.place.newest.1 != CommitNo::ZERO;
            if stale || self.frame.void_from.is_some_and(|from| span.commit >= from) {
                continue;
            }
            let voided = |next: &Found| {
                next.header.opening > span.opening && next.header.commit <= span.commit
            };
            if self.peek().is_some_and(|next| voided(&next)) {
                continue;
            }
            self.place.newest = known;
            return Some(span);
        }
    }

    fn gather(&mut self) -> Option<Span> {
        let first = self.take()?;
        let mut last = first;
        let mut linked = first.header.index == 0 && first.intact;
        while !last.header.last {
            let same = |next: &Found| {
                next.header.commit == first.header.commit
                    && next.header.opening == first.header.opening
                    && next.header.index > last.header.index
            };
            let Some(next) = self.peek().filter(same) else { break };
            self.take();
            linked &= next.intact
                && next.at == last.next
                && next.header.before == last.crc
                && next.header.index == last.header.index + 1;
            last = next;
        }
        let counted = |trailer: &Trailer| linked && trailer.entries == last.header.index + 1;
        Some(Span {
            at: first.at,
            end: last.next,
            first: first.header,
            commit: first.header.commit,
            opening: first.header.opening,
            last_crc: last.crc,
            whole: last.trailer.filter(counted),
        })
    }

    fn peek(&mut self) -> Option<Found> {
        if self.place.ahead.is_none() {
            self.place.ahead = self.search();
        }
        self.place.ahead
    }

    fn take(&mut self) -> Option<Found> {
        let found = self.peek()?;
        self.place.ahead = None;
        self.place.at = found.next;
        Some(found)
    }

    fn search(&mut self) -> Option<Found> {
        let far = self.place.at.saturating_add(COMMIT_BYTES_MAX as u32).min(self.window.end());
        let mut at = self.place.at;
        while at < far {
            if let Ok(found) = find(&mut self.window, &self.frame, at) {
                return Some(found);
            }
            at = self.window.next_place(at);
        }
        None
    }
}

/// The entry at `at`.
///
/// # Errors
/// None stands there.
pub(crate) fn find<M: Media>(
    window: &mut Window<'_, M>,
    frame: &Frame,
    at: u32,
) -> Result<Found, Malformed> {
    let checksum = frame.checksum;
    let fixed = window.get(at, ENTRY_HEADER_BYTES).map_err(|_| Malformed::Short)?;
    let header = EntryHeader::decode(fixed)?;
    let whole = window.get(at, header.body_at()).map_err(|_| Malformed::Short)?;
    let (fixed, path) = whole.split_at(ENTRY_HEADER_BYTES);
    let standing = Standing { log: frame.log, segment: frame.segment, at };
    let crc = EntryHeader::verify(fixed, path, standing, checksum)?;
    let body_at = at + header.body_at() as u32;
    let body_end = body_at + header.body_len;
    let intact = body_crc(window, body_at, body_end, checksum) == Some(header.body_crc);
    let mut trailer = None;
    let mut next = at + header.stride() as u32;
    if header.last {
        trailer = read_trailer(window, body_end, crc, checksum);
        let len = trailer.map_or(0, |trailer| Trailer::encoded_len(trailer.lanes));
        next = frame.shape.units(body_end + len as u32) + frame.shape.guard_bytes();
    }
    Ok(Found { at, header, crc, intact, trailer, next })
}

fn read_trailer<M: Media>(
    window: &mut Window<'_, M>,
    at: u32,
    crc: u32,
    checksum: Checksum,
) -> Option<Trailer> {
    let lanes = *window.get(at, 4).ok()?.get(2)?;
    let bytes = window.get(at, Trailer::encoded_len(lanes)).ok()?;
    Trailer::decode(bytes, crc, checksum).ok()
}

fn body_crc<M: Media>(
    window: &mut Window<'_, M>,
    from: u32,
    to: u32,
    checksum: Checksum,
) -> Option<u32> {
    let mut crc = checksum.of(&[]);
    let mut at = from;
    while at < to {
        let len = (to - at).min(window.step());
        crc = checksum.on(crc, window.get(at, len as usize).ok()?);
        at += len;
    }
    Some(crc)
}
