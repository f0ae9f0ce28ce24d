//! The stored format without a medium: what can be read has one encoding, and is within its limits.

use landfall_core::batch::{Batch, BatchHead, batches};
use landfall_core::checksum::Checksum;
use landfall_core::codec::{NoRoom, Reader, Writer};
use landfall_core::control::{BranchBody, GapBody};
use landfall_core::entry::{
    ENTRY_HEADER_BYTES, EntryHeader, Hop, PATH_BYTES_MAX, Standing, TRAILER_BYTES_MAX, Trailer,
    hops,
};
use landfall_core::limits::{COUNTER_MAX, ENTRY_BYTES_MAX};
use landfall_core::media::Geometry;
use landfall_core::num::{LogId, SegmentNo};
use landfall_core::record::{Header, Headers, Record};
use landfall_core::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::input::Input;
use landfall_simulation::journal::CHECKSUM;

/// A checksum that any four zeros match, so that what lies behind checksums is reached.
const NONE: Checksum = Checksum(|_, _| 0);

/// Records, one behind the other.
pub(super) fn record(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let before = reader.rest();
        let Ok(record) = Record::decode(&mut reader) else { return };
        let len = before.len() - reader.rest().len();
        assert_eq!(record.check(), Ok(()), "what is read keeps the limits");
        assert_eq!(record.encoded_len(), len);
        comes_back(&before[..len], |writer| record.encode(writer));
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let listed = Record { headers: Headers::List(&headers), ..record };
        comes_back(&before[..len], |writer| listed.encode(writer));
    }
}

/// A body: batches, one behind the other, and their records. The first byte chooses the checksum.
pub(super) fn batch(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let checksum = if input.u8() & 1 == 0 { CHECKSUM } else { NONE };
    let body = input.rest();
    let mut reader = Reader::new(body);
    let mut read = 0;
    while let Ok(batch) = Batch::decode(&mut reader, checksum) {
        check_batch(&batch);
        let len = batch.head.encoded_len();
        let start = body.len() - reader.rest().len() - batch.records.len() - len;
        comes_back(&body[start..start + len], |writer| batch.head.encode(writer, checksum));
        read += 1;
    }
    let found = batches(body, checksum).filter(Result::is_ok).count();
    assert_eq!(found, read, "both ways of reading find the same batches");
    // Its head alone, as salvage reads it.
    let _ = BatchHead::decode(&mut Reader::new(body), checksum);
}

/// What must hold of a batch that was read, whoever sent it.
pub(super) fn check_batch(batch: &Batch<'_>) {
    let head = &batch.head;
    assert!(head.span > 0 && head.records <= head.span && head.end() > head.base);
    assert!(head.end().get() <= COUNTER_MAX && batch.records.len() <= ENTRY_BYTES_MAX);
    let mut records = 0;
    for placed in batch.records() {
        let Ok(placed) = placed else {
            assert!(batch.verify().is_err(), "records that cannot be read verify nothing");
            return;
        };
        assert!(placed.offset >= head.base && placed.offset < head.end());
        comes_back(placed.encoded, |writer| placed.record.encode(writer));
        records += 1;
    }
    assert_eq!(records, head.records);
    let _ = batch.verify();
}

/// What an entry is made of: header, path, trailer, the bodies of statements, and the header of a
/// segment.
pub(super) fn entry(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 6 {
        0 => entry_header(input.rest()),
        1 => path(input.rest()),
        2 => trailer(input.rest()),
        3 => {
            let body = input.rest();
            if let Ok(gap) = GapBody::decode(body) {
                comes_back(body, |writer| gap.encode(writer));
            }
        }
        4 => {
            let body = input.rest();
            if let Ok(branch) = BranchBody::decode(body) {
                comes_back(body, |writer| branch.encode(writer));
            }
        }
        _ => segment_header(input.rest()),
    }
}

fn entry_header(bytes: &[u8]) {
    let Ok(header) = EntryHeader::decode(bytes) else { return };
    assert!(usize::from(header.path_len) <= PATH_BYTES_MAX);
    assert!(header.body_end() <= ENTRY_HEADER_BYTES + PATH_BYTES_MAX + ENTRY_BYTES_MAX);
    let end = header.end_seq();
    assert!(end >= header.seq && end.get() <= COUNTER_MAX);
    assert!(header.stride() >= header.body_end());
    let standing = Standing { log: LogId::new(7), segment: SegmentNo::new(8), at: 512 };
    let mut again = vec![0; header.body_at()];
    again[..bytes.len().min(header.body_at())]
        .copy_from_slice(&bytes[..bytes.len().min(header.body_at())]);
    header.seal(&mut again, standing, CHECKSUM);
    let crc_at = ENTRY_HEADER_BYTES - 4;
    assert_eq!(again[..crc_at], bytes[..crc_at], "a header has one encoding");
    let path = &again[ENTRY_HEADER_BYTES..];
    assert!(EntryHeader::verify(&again, path, standing, CHECKSUM).is_ok());
    let elsewhere = Standing { at: 1024, ..standing };
    assert!(EntryHeader::verify(&again, path, elsewhere, CHECKSUM).is_err());
}

fn path(bytes: &[u8]) {
    let mut again = vec![0; bytes.len()];
    let mut writer = Writer::new(&mut again);
    for hop in hops(bytes) {
        let Ok(hop) = hop else { return };
        assert!(Hop::encode(&hop, &mut writer).is_ok(), "it was read from as many bytes");
    }
    assert_eq!(writer.written(), bytes, "a path has one encoding");
}

fn trailer(bytes: &[u8]) {
    if let Ok(trailer) = Trailer::decode(bytes, 0, NONE) {
        let len = Trailer::encoded_len(trailer.lanes);
        assert!(len <= TRAILER_BYTES_MAX);
        comes_back(&bytes[..len], |writer| trailer.encode(writer, 0, NONE));
    }
}

fn segment_header(bytes: &[u8]) {
    let shape = Geometry { slots: 4, slot_bytes: 4096, unit_bytes: 64, overwrites: true };
    if let Ok(header) = SegmentHeader::decode(bytes, shape, NONE) {
        comes_back(&bytes[..SEGMENT_HEADER_BYTES], |writer| header.encode(writer, shape, NONE));
    }
}

/// Encodes into as much room as the original took, and compares.
fn comes_back(original: &[u8], encode: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) {
    let mut again = vec![0; original.len()];
    let mut writer = Writer::new(&mut again);
    assert_eq!(encode(&mut writer), Ok(()), "it was read from as many bytes");
    assert_eq!(writer.written(), original, "what can be read has one encoding");
}
