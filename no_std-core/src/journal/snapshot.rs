//! Snapshots: before a segment is dropped, the newest record per key of compacted topics moves to
//! the end of its lane.
//!
//! A snapshot entry holds partial batches whose records keep their coordinates. They take no seqs
//! and move no frontier. Whoever folds a lane by key may take them as they come: at the time of the
//! snapshot there was nothing newer for their keys, and what is newer stands behind them. A power
//! cut between a snapshot and the drop leaves records that are stored twice.

use super::read::Cursor;
use super::{CommitError, Journal, StageError};
use crate::batch::{Batch, BatchHead, PlacedRecord, batches};
use crate::codec::Writer;
use crate::entry::Kind;
use crate::media::{Media, MediaError, Place};
use crate::name::StreamId;
use crate::num::{Lane, SegmentNo};
use crate::tables::Tables;

/// Says whether a record of a stream is the newest of its key in a topic that is compacted. It may
/// be asked twice.
pub type Keep<'a> = &'a mut dyn FnMut(StreamId<'_>, &PlacedRecord<'_>) -> bool;

/// A batch of a snapshot that is being staged.
#[derive(Clone, Copy)]
struct Piece {
    head_at: usize,
    records_at: usize,
    records: u32,
}

impl<M: Media, T: Tables> Journal<M, T> {
    /// Copies the records of a lane's oldest segment that `keep` names to the end of the lane, and
    /// commits them. Returns how many. `buffer` must hold the largest entry.
    ///
    /// # Errors
    /// The lane has no room, or the medium failed: then nothing may be dropped. Part of the
    /// snapshot may be stored.
    pub fn snapshot_oldest(
        &mut self,
        lane: Lane,
        keep: Keep<'_>,
        buffer: &mut [u8],
    ) -> Result<u64, CommitError> {
        assert!(self.staging.entries == 0, "a snapshot is taken between commits");
        let kept = self.stage_snapshot(lane, keep, buffer);
        if kept.is_err() {
            self.abandon();
        }
        let kept = kept?;
        self.commit_staged()?;
        Ok(kept)
    }

    fn stage_snapshot(
        &mut self,
        lane: Lane,
        keep: Keep<'_>,
        buffer: &mut [u8],
    ) -> Result<u64, CommitError> {
        let Some(oldest) = self.oldest(lane) else { return Ok(0) };
        let Some(ix) = self.next_slot(lane, SegmentNo::ZERO) else { return Ok(0) };
        let tail = self.slot(ix).tail;
        let mut cursor = Cursor { segment: oldest.segment, ..Cursor::default() };
        let mut kept = 0;
        while let Some(found) = self.step(ix, tail, &cursor, buffer)? {
            cursor.at = found.next;
            cursor.newest = (found.header.opening, found.header.commit);
            if !matches!(found.header.kind, Kind::Data | Kind::Snapshot) {
                continue;
            }
            let at = found.at + found.header.body_at() as u32;
            let len = found.header.body_len as usize;
            let body = buffer.get_mut(..len).ok_or(MediaError::Unreadable)?;
            match self.media.read(Place { slot: ix, at }, body) {
                Ok(()) => {}
                Err(MediaError::Unreadable) => continue,
                Err(error) => return Err(CommitError::Media(error)),
            }
            for batch in batches(body, self.config.checksum).map_while(Result::ok) {
                kept += self.snapshot_batch(lane, &batch, keep)?;
            }
        }
        Ok(kept)
    }

    fn snapshot_batch(
        &mut self,
        lane: Lane,
        batch: &Batch<'_>,
        keep: Keep<'_>,
    ) -> Result<u64, CommitError> {
        let stream = batch.head.stream;
        let mut kept = 0;
        for placed in batch.records().map_while(Result::ok) {
            kept += u32::from(keep(stream, &placed));
        }
        let mut piece = None;
        if kept == batch.head.records && !batch.head.partial {
            let len = batch.head.encoded_len() + batch.records.len();
            let begun = self.begin_piece(lane, &batch.head, len)?;
            self.put_bytes(batch.records);
            self.end_piece(&batch.head, Piece { records: kept, ..begun });
            return Ok(u64::from(kept));
        }
        for placed in batch.records().map_while(Result::ok) {
            if kept == 0 || !keep(stream, &placed) {
                continue;
            }
            piece = Some(self.snapshot_record(lane, &batch.head, piece, &placed)?);
        }
        if let Some(piece) = piece {
            self.end_piece(&BatchHead { partial: true, ..batch.head }, piece);
        }
        Ok(u64::from(kept))
    }

    fn snapshot_record(
        &mut self,
        lane: Lane,
        head: &BatchHead<'_>,
        piece: Option<Piece>,
        placed: &PlacedRecord<'_>,
    ) -> Result<Piece, CommitError> {
        let mut distance = [0; 10];
        let mut writer = Writer::new(&mut distance);
        let written = writer.varint(placed.offset.since(head.base));
        assert!(written.is_ok(), "a varint takes ten bytes at most");
        let len = writer.len() + placed.encoded.len();
        let fits = |piece: &Piece| {
            let body = self.staging.len - piece.head_at + len;
            body <= self.config.entry_max as usize && self.has_room(lane, len)
        };
        let mut piece = match piece {
            Some(piece) if fits(&piece) => piece,
            full => {
                if let Some(full) = full {
                    self.end_piece(&BatchHead { partial: true, ..*head }, full);
                }
                self.begin_piece(lane, head, head.encoded_len() + len)?
            }
        };
        self.put_bytes(writer.written());
        self.put_bytes(placed.encoded);
        piece.records += 1;
        Ok(piece)
    }

    /// Opens an entry of the snapshot, in another commit if need be.
    fn begin_piece(
        &mut self,
        lane: Lane,
        head: &BatchHead<'_>,
        len: usize,
    ) -> Result<Piece, CommitError> {
        let mut room = self.make_room(lane, len, 0);
        if room == Err(StageError::CommitFull) {
            self.commit_staged()?;
            room = self.make_room(lane, len, 0);
        }
        room.map_err(|error| match error {
            StageError::LaneFull => CommitError::LaneFull,
            StageError::Media(error) => CommitError::Media(error),
            _ => CommitError::Media(MediaError::NoSpace),
        })?;
        self.begin_entry(&[]);
        let head_at = self.staging.len;
        self.staging.len += head.encoded_len();
        Ok(Piece { head_at, records_at: self.staging.len, records: 0 })
    }

    fn end_piece(&mut self, head: &BatchHead<'_>, piece: Piece) {
        let len = (self.staging.len - piece.records_at) as u32;
        let head = BatchHead { records: piece.records, len, ..*head };
        let place = self.parts.buffer.as_mut().get_mut(piece.head_at..piece.records_at);
        let written =
            head.encode(&mut Writer::new(place.unwrap_or_default()), self.config.checksum);
        assert!(written.is_ok(), "room was left for the head");
        self.end_entry(Kind::Snapshot);
    }
}
