//! Journals in tests: opening them on any medium, appending, and reading back all that they hold.

use landfall_core::batch::{ClockQuality, batches};
use landfall_core::checksum::Checksum;
use landfall_core::entry::Kind;
use landfall_core::frontier::{Frontier, StreamIx};
use landfall_core::journal::StageError;
use landfall_core::journal::{Config, Fresh, Journal, OpenError, ReadStep, Recovery, Staged};
use landfall_core::limits::LANES_MAX;
use landfall_core::media::{Geometry, Media};
use landfall_core::name::StreamId;
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId, Offset, Partition, Seq, Timestamp};
use landfall_core::record::Record;
use landfall_core::tables::{Heap, Parts, Small, Tables};

use crate::rng::Rng;

/// The site that writes in these tests.
pub const SITE: &str = "ship-1";
/// Tables without allocation, as a microcontroller has them.
pub type Tiny = Small<4, 32, 4096>;

/// The checksum that the agent uses.
pub const CHECKSUM: Checksum = Checksum(crc32c::crc32c_append);

/// A configuration that uses all slots of a medium, shared evenly by `lanes` lanes.
pub fn config(shape: Geometry, lanes: u8, entry_max: u32) -> Config {
    let mut slots = [0; LANES_MAX];
    slots
        .iter_mut()
        .take(lanes.into())
        .for_each(|slots| *slots = (shape.slots - 2) / u32::from(lanes));
    let commit_max = (entry_max * 4).min(shape.slot_bytes - 512);
    Config { checksum: CHECKSUM, lanes, slots, entry_max, commit_max, join_max: entry_max / 4 }
}

/// Tables on the heap for a medium.
pub fn heap(shape: Geometry, config: &Config) -> Parts<Heap> {
    Parts::<Heap>::new(shape.slots, 64, config.commit_max as usize)
}

/// The random numbers of an opening.
pub fn fresh(rng: &mut Rng) -> Fresh {
    Fresh {
        log: LogId::new(rng.u64()),
        epoch: Epoch::new(rng.u64()),
        boot: BootId::new(rng.u64()),
        first_commit: CommitNo::new(1),
    }
}

/// Opens a journal with tables on the heap and two lanes.
///
/// # Errors
/// Those of [`Journal::open`].
pub fn open<M: Media>(media: M, rng: &mut Rng) -> Result<(Journal<M, Heap>, Recovery), OpenError> {
    let shape = media.geometry();
    let config = config(shape, 2, (shape.slot_bytes / 4).min(64 * 1024));
    let parts = heap(shape, &config);
    Journal::open(media, config, parts, fresh(rng))
}

/// The stream of a topic of the site of these tests.
pub fn stream(topic: &str) -> StreamId<'_> {
    StreamId { origin: SITE, topic, partition: Partition::new(0) }
}

/// The index of a topic's stream, made known if need be.
pub fn known<M: Media, T: Tables>(journal: &mut Journal<M, T>, topic: &str) -> StreamIx {
    journal.frontier_mut().add(stream(topic)).expect("there is room for the streams of a test")
}

/// Stages a record with a value.
///
/// # Errors
/// Those of [`Journal::stage_record`].
pub fn stage<M: Media, T: Tables>(
    journal: &mut Journal<M, T>,
    lane: Lane,
    topic: &str,
    value: &[u8],
) -> Result<Staged, StageError> {
    let ix = known(journal, topic);
    let record = Record::new(Timestamp::new(1_000), Some(b"key"), Some(value));
    journal.stage_record(lane, ix, &record, ClockQuality::Local)
}

/// Appends a record and waits until it is durable.
pub fn append<M: Media, T: Tables>(
    journal: &mut Journal<M, T>,
    lane: Lane,
    topic: &str,
    value: &[u8],
) -> Staged {
    let staged = stage(journal, lane, topic, value).expect("there is room");
    journal.commit().expect("the medium takes it");
    staged
}

/// A record as a reader found it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Got {
    /// Its place in its lane.
    pub seq: Seq,
    /// Its origin, topic and partition, as they are printed.
    pub stream: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its offset.
    pub offset: Offset,
    /// Its encoded form.
    pub encoded: Vec<u8>,
}

impl Got {
    /// The value.
    pub fn value(&self) -> Vec<u8> {
        let mut reader = landfall_core::codec::Reader::new(&self.encoded);
        let record = Record::decode(&mut reader).expect("it was decoded before");
        record.value.unwrap_or_default().to_vec()
    }
}

/// What a reader found in a lane, from its first entry to its end.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lecture {
    /// The records.
    pub records: Vec<Got>,
    /// Seqs that were missing.
    pub missing: Vec<(Seq, Seq)>,
    /// The kinds of the entries that are not data, in order.
    pub control: Vec<Kind>,
}

/// Reads a lane, and checks that seqs are dense, batches verify and offsets go on.
pub fn read_all<M: Media, T: Tables>(journal: &Journal<M, T>, lane: Lane) -> Lecture {
    let mut lecture = Lecture::default();
    let mut buffer = vec![0; 512 * 1024];
    let mut cursor = journal.first(lane);
    let mut next = cursor.seq;
    loop {
        match journal.read(lane, &mut cursor, &mut buffer) {
            ReadStep::End => break,
            ReadStep::Failed(error) => panic!("the medium is on: {error}"),
            ReadStep::TooLong(len) => panic!("an entry of {len} bytes is over the limit"),
            ReadStep::Missing(from, to) => {
                assert!(from == next && to > from, "{from}..{to} is missing at {next}");
                lecture.missing.push((from, to));
                next = to;
            }
            ReadStep::Entry(entry) => {
                assert_eq!(entry.header.seq, next, "seqs are dense in lane {lane}");
                if entry.header.kind != Kind::Data {
                    assert_eq!(entry.header.records, 0, "only data takes seqs");
                    lecture.control.push(entry.header.kind);
                    continue;
                }
                take_body(&mut lecture, entry.body, &mut next);
                assert_eq!(entry.header.end_seq(), next, "an entry has the records it states");
            }
        }
    }
    assert_eq!(next, journal.seqs(lane).1, "a reader comes to the end of lane {lane}");
    lecture
}

fn take_body(lecture: &mut Lecture, body: &[u8], next: &mut Seq) {
    for batch in batches(body, CHECKSUM) {
        let batch = batch.expect("an intact entry has whole batches");
        batch.verify().expect("the stream hash is that of the records");
        for placed in batch.records() {
            let placed = placed.expect("the batch was verified");
            lecture.records.push(Got {
                seq: *next,
                stream: batch.head.stream.to_string(),
                epoch: batch.head.epoch,
                offset: placed.offset,
                encoded: placed.encoded.to_vec(),
            });
            *next = next.plus(1);
        }
    }
}

/// Reads a lane, and notes what is missing as a node does.
pub fn lecture_with_losses<M: Media, T: Tables>(
    journal: &mut Journal<M, T>,
    lane: Lane,
) -> Lecture {
    let lecture = read_all(journal, lane);
    for missing in &lecture.missing {
        journal.note_missing(lane, *missing);
    }
    lecture
}
