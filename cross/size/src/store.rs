//! What a device calls of `landfall-core`.

use core::hint::black_box;

use landfall_core::batch::batches;
use landfall_core::checksum::Checksum;
use landfall_core::codec::{NoRoom, Writer};
use landfall_core::entry::{EntryHeader, Standing, Trailer};
use landfall_core::media::Geometry;
use landfall_core::num::{LogId, SegmentNo};
use landfall_core::segment::{self, SegmentHeader};

const BYTES: usize = 512;

const FLASH: Geometry = Geometry { slots: 16, slot_bytes: 4096, unit_bytes: 8, overwrites: false };

/// Reads and writes every stored form.
pub fn exercise() {
    let bytes = black_box([0_u8; BYTES]);
    let mut space = black_box([0_u8; BYTES]);
    entry(&bytes, &mut space);
    let mut writer = Writer::new(&mut space);
    let _ = black_box(segment(&bytes, &mut writer));
    let _ = black_box(body(&bytes, &mut writer));
    black_box(&space);
}

fn segment(bytes: &[u8], writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    let shape = black_box(FLASH);
    black_box(segment::entries_at(shape));
    if let Ok(header) = SegmentHeader::decode(bytes, shape, Checksum::PORTABLE) {
        header.encode(writer, shape, Checksum::PORTABLE)?;
    }
    Ok(())
}

fn entry(bytes: &[u8], space: &mut [u8]) {
    let standing = Standing { log: LogId::new(1), segment: SegmentNo::new(1), at: 0 };
    let standing = black_box(standing);
    if let Ok(header) = EntryHeader::decode(bytes) {
        let _ = black_box(EntryHeader::verify(bytes, &[], standing, Checksum::PORTABLE));
        black_box(header.seal(space, standing, Checksum::PORTABLE));
    }
}

fn body(bytes: &[u8], writer: &mut Writer<'_>) -> Result<(), NoRoom> {
    if let Ok(trailer) = Trailer::decode(bytes, black_box(0), Checksum::PORTABLE) {
        trailer.encode(writer, black_box(0), Checksum::PORTABLE)?;
    }
    for batch in batches(bytes, Checksum::PORTABLE).flatten() {
        let _ = black_box(batch.verify());
        batch.head.encode(writer, Checksum::PORTABLE)?;
        for placed in batch.records().flatten() {
            placed.record.encode(writer)?;
        }
    }
    Ok(())
}
