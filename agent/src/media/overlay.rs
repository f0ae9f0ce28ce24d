//! A medium of files that is looked at and stays as it is: what is written goes to memory.
//!
//! A journal can't be opened without noting that it was, and recovery may have to write. Here it
//! can, and all is forgotten with the medium.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};

use super::handles::Handles;
use super::{DirLock, FileReader, FileShape, OpenError};

/// What may be written in memory: many times what an opening writes.
const WRITTEN_BYTES_MAX: usize = 64 << 20;

/// Files below, changes in memory above. Holds the directory's lock, so that no node writes there
/// meanwhile; the lock file is all that is touched.
#[derive(Debug)]
pub struct Overlay {
    shape: Geometry,
    files: FileReader,
    /// Units that were written, by slot and place.
    written: BTreeMap<(SlotIx, u32), Vec<u8>>,
    _lock: DirLock,
}

impl Overlay {
    /// Looks at the medium in `dir`.
    ///
    /// # Errors
    /// See [`OpenError`]; there is none in `dir`, or a node runs there.
    pub fn open(dir: &Path, shape: FileShape) -> Result<Self, OpenError> {
        let shape = shape.geometry()?;
        let segments = dir.join("segments");
        std::fs::metadata(&segments).map_err(OpenError::at(&segments))?;
        let lock = DirLock::take(dir)?;
        let files = FileReader(Arc::new(Handles::new(segments)));
        Ok(Self { shape, files, written: BTreeMap::new(), _lock: lock })
    }
}

impl Media for Overlay {
    fn geometry(&self) -> Geometry {
        self.shape
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        self.files.read(place, buffer)?;
        let unit = self.shape.unit_bytes as usize;
        let (from, to) = (place.at as usize, place.at as usize + buffer.len());
        let first = place.at - place.at % self.shape.unit_bytes;
        let slot = self.written.range((place.slot, first)..(SlotIx(place.slot.0 + 1), 0));
        for ((_, at), bytes) in slot.take_while(|((_, at), _)| (*at as usize) < to) {
            let at = *at as usize;
            let (begin, end) = (from.max(at), to.min(at + unit));
            buffer[begin - from..end - from].copy_from_slice(&bytes[begin - at..end - at]);
        }
        Ok(())
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        let unit = self.shape.unit_bytes;
        assert!(place.at.is_multiple_of(unit), "the journal writes whole units");
        if (self.written.len() + 1) * unit as usize + bytes.len() > WRITTEN_BYTES_MAX {
            return Err(MediaError::NoSpace);
        }
        for (at, bytes) in (place.at..).step_by(unit as usize).zip(bytes.chunks(unit as usize)) {
            let mut whole = bytes.to_vec();
            whole.resize(unit as usize, 0);
            self.written.insert((place.slot, at), whole);
        }
        Ok(())
    }

    fn sync(&mut self, _: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }

    fn erase(&mut self, _: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }

    fn free(&mut self, _: SlotIx) -> Result<(), MediaError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FileMedia;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_files_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let shape = FileShape { slots: 2, slot_bytes: 16_384, powersafe: false };
        let slot = SlotIx(1);
        let place = |at| Place { slot, at };
        let mut files = FileMedia::open(dir.path(), shape).unwrap();
        files.erase(slot).unwrap();
        files.program(place(0), &[1; 8_192]).unwrap();
        files.sync(slot).unwrap();
        assert!(matches!(Overlay::open(dir.path(), shape), Err(OpenError::InUse { .. })));
        drop(files);

        let mut overlay = Overlay::open(dir.path(), shape).unwrap();
        overlay.program(place(4_096), &[2; 4_096]).unwrap();
        let mut seen = [0; 4_096];
        overlay.read(place(2_048), &mut seen).unwrap();
        assert_eq!((seen[..2_048] == [1; 2_048], seen[2_048..] == [2; 2_048]), (true, true));
        drop(overlay);

        let files = FileMedia::open(dir.path(), shape).unwrap();
        files.read(place(2_048), &mut seen).unwrap();
        assert_eq!(seen, [1; 4_096]);
    }
}
