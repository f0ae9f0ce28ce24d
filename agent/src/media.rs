//! The journal's medium as files: a directory with one file per slot.
//!
//! ```text
//! DIR/lock                    held by the process that writes
//! DIR/segments/00000007.seg   slot 7; absent until it is first erased
//! DIR/segments/spare          was a slot's file and becomes another's
//! ```
//!
//! - A slot's space is reserved when it is erased, so that a full disk stops the journal between
//!   segments and not inside one.
//! - One file that was given back is kept for the next slot that needs one: a file system that has
//!   its blocks written once notes nothing when they are written again, while for each commit into
//!   space that is only reserved it writes more than the commit.
//! - What the shape of the medium is stands in the headers of the segments, not beside them.
//! - Readers on other threads share the open files with the one writer; nothing but opening and
//!   removing a file happens under their common mutex, so a slow sync stalls no read.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_core::media::{Geometry, Media, MediaError, Place, SlotIx};
use landfall_core::segment::SEGMENT_HEADER_BYTES;
use rustix::io::Errno;

use handles::Handles;
pub use lock::DirLock;
pub use overlay::Overlay;
use syncer::Syncer;
pub use written::Written;

mod handles;
mod lock;
mod overlay;
mod space;
mod syncer;
mod written;

const UNIT_BYTES: u32 = 4096;
const UNIT_BYTES_POWERSAFE: u32 = 512;

/// The shape of a medium of files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileShape {
    /// How many slots there may be, at least one.
    pub slots: u32,
    /// Bytes of a slot; a multiple of 4096.
    pub slot_bytes: u32,
    /// Whether the device below keeps the bytes around a write that loses power. Write units are
    /// then 512 bytes instead of 4096.
    pub powersafe: bool,
}

/// Why a directory can't be opened as a medium.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Local misuse: slots of this size don't divide into write units, or there are none.
    Shape(FileShape),
    /// Another process writes there.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The process, if it left its number.
        pid: Option<u32>,
    },
    /// The system refused a file or directory.
    System {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The writer of a medium of files. Holds the directory's lock until it is dropped.
#[derive(Debug)]
pub struct FileMedia {
    shape: Geometry,
    reader: FileReader,
    /// The kernel reports a failed write-back only to those who had the file open. So what was
    /// written is synced through the handle that wrote it, which must not be closed before. One
    /// for each slot that the journal is writing to.
    unsynced: BTreeMap<SlotIx, Arc<File>>,
    /// Made when it is first needed.
    syncer: Option<Syncer>,
    /// The slot that is being synced, by the handle that wrote it.
    syncing: Option<(SlotIx, Arc<File>)>,
    directory: File,
    directory_unsynced: bool,
    written: Written,
    _lock: DirLock,
}

/// Reads from a medium of files on any thread while its owner writes.
#[derive(Clone, Debug)]
pub struct FileReader(Arc<Handles>);

impl FileMedia {
    /// Opens the medium in `dir`, making the directory if need be.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing but the directories and the lock file was touched then.
    pub fn open(dir: &Path, shape: FileShape) -> Result<Self, OpenError> {
        let shape = shape.geometry()?;
        let segments = dir.join("segments");
        fs::create_dir_all(dir).map_err(OpenError::at(dir))?;
        let lock = DirLock::take(dir)?;
        fs::create_dir_all(&segments).map_err(OpenError::at(&segments))?;
        let directory = File::open(&segments).map_err(OpenError::at(&segments))?;
        // A process killed between making a file and syncing its name left the rest to the next.
        directory.sync_all().map_err(OpenError::at(&segments))?;
        sync_names(dir)?;
        Ok(Self {
            shape,
            reader: FileReader(Arc::new(Handles::new(segments))),
            unsynced: BTreeMap::new(),
            syncer: None,
            syncing: None,
            directory,
            directory_unsynced: false,
            written: Written::default(),
            _lock: lock,
        })
    }

    /// A reader for other threads. It may outlive the writer.
    pub fn reader(&self) -> FileReader {
        self.reader.clone()
    }

    /// What the files were given to write since they were opened.
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Lets another thread sync a file. False if it can't.
    fn begin_sync(&mut self, file: &Arc<File>) -> bool {
        if self.syncer.is_none() {
            self.syncer = Syncer::start().ok();
        }
        self.syncer.as_ref().is_some_and(|syncer| syncer.begin(Arc::clone(file)).is_ok())
    }

    fn count(&mut self, place: Place, bytes: &[u8]) {
        if place.at == 0 {
            self.written.read_header(place.slot, bytes, self.shape);
        } else if !self.written.knows(place.slot) {
            // A segment of an earlier opening goes on.
            let mut header = [0; SEGMENT_HEADER_BYTES];
            if self.reader.read(Place { slot: place.slot, at: 0 }, &mut header).is_ok() {
                self.written.read_header(place.slot, &header, self.shape);
            }
        }
        self.written.add(place.slot, bytes.len());
    }

    fn reserve(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        let mut file = self.reader.0.writable(slot).map_err(|fault| while_writing(&fault))?;
        if file.is_none() && self.reader.0.take_back(slot) {
            self.directory_unsynced = true;
            file = self.reader.0.writable(slot).map_err(|fault| while_writing(&fault))?;
        }
        let Some(file) = file else { return self.reserve_new(slot) };
        // A copied or half-made file may lack some of its space.
        let reserved = space::reserve(&file, self.shape.slot_bytes);
        self.written.add_zeros(reserved.map_err(|fault| while_writing(&fault))?);
        Ok(())
    }

    fn reserve_new(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.directory_unsynced = true;
        let file = self.reader.0.create(slot).map_err(|fault| while_writing(&fault))?;
        let reserved = space::reserve(&file, self.shape.slot_bytes).map_err(|fault| {
            // If it can't be removed either, it stays as a short file, which reads like none.
            let _ = self.reader.0.remove(slot);
            while_writing(&fault)
        });
        reserved.map(|zeros| self.written.add_zeros(zeros))
    }

    fn sync_directory(&mut self) -> Result<(), MediaError> {
        if self.directory_unsynced {
            self.directory.sync_all().map_err(|fault| while_writing(&fault))?;
            self.directory_unsynced = false;
        }
        Ok(())
    }
}

impl Media for FileMedia {
    fn geometry(&self) -> Geometry {
        self.shape
    }

    fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        self.reader.read(place, buffer)
    }

    fn program(&mut self, place: Place, bytes: &[u8]) -> Result<(), MediaError> {
        assert!(self.syncing.is_none(), "the journal waits for a sync that it has begun");
        assert!(place.slot.0 < self.shape.slots, "the journal writes to slots that there are");
        let end = u64::from(place.at) + bytes.len() as u64;
        assert!(end <= u64::from(self.shape.slot_bytes), "the journal writes within a slot");
        let unit = self.shape.unit_bytes;
        let whole = place.at.is_multiple_of(unit) && bytes.len().is_multiple_of(unit as usize);
        assert!(whole, "the journal writes whole units, so that nothing is read to be written");
        let file = match self.unsynced.get(&place.slot) {
            Some(file) => Arc::clone(file),
            None => self
                .reader
                .0
                .writable(place.slot)
                .map_err(|fault| while_writing(&fault))?
                .ok_or(MediaError::Failed)?,
        };
        self.unsynced.insert(place.slot, Arc::clone(&file));
        self.count(place, bytes);
        file.write_all_at(bytes, u64::from(place.at)).map_err(|fault| while_writing(&fault))
    }

    fn sync_soon(&mut self, slot: SlotIx) {
        assert!(self.syncing.is_none(), "the journal waits for a sync that it has begun");
        let Some(file) = self.unsynced.remove(&slot) else { return };
        if self.begin_sync(&file) {
            self.syncing = Some((slot, file));
        } else {
            self.unsynced.insert(slot, file);
        }
    }

    fn sync(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        if let (Some((begun, _file)), Some(syncer)) = (self.syncing.take(), &self.syncer) {
            assert_eq!(begun, slot, "the journal waits for a sync that it has begun");
            return syncer.wait().map_err(|fault| while_writing(&fault));
        }
        let file = match self.unsynced.remove(&slot) {
            Some(file) => Some(file),
            None => self.reader.0.existing(slot).map_err(|fault| while_writing(&fault))?,
        };
        match file {
            Some(file) => file.sync_data().map_err(|fault| while_writing(&fault)),
            None => Ok(()),
        }
    }

    /// Pages that could not be written count as clean, so that the kernel drops them when it is
    /// told that nobody needs them.
    fn forget_cached(&mut self, slot: SlotIx) {
        let Ok(Some(file)) = self.reader.0.existing(slot) else { return };
        // What can't be written is not to be read: that is what this is for.
        let _ = file.sync_data();
        let _ = rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed);
    }

    fn erase(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        assert!(slot.0 < self.shape.slots, "the journal erases slots that there are");
        match self.reserve(slot) {
            // What is kept to be used again is given up before anything is refused.
            Err(MediaError::NoSpace) if self.reader.0.give_up_spare() => self.reserve(slot)?,
            reserved => reserved?,
        }
        self.sync_directory()
    }

    fn free(&mut self, slot: SlotIx) -> Result<(), MediaError> {
        self.unsynced.remove(&slot);
        self.written.forget(slot);
        self.directory_unsynced = true;
        if self.reader.0.has_spare() || !self.reader.0.put_aside(slot) {
            self.reader.0.remove(slot).map_err(|fault| while_writing(&fault))?;
        }
        self.sync_directory()
    }
}

impl FileReader {
    /// Fills `buffer` from `place` on; with zeros where nothing was ever written.
    ///
    /// # Errors
    /// [`MediaError::Unreadable`] if the device can't read some of the bytes;
    /// [`MediaError::Failed`] if the system refuses for another reason, such as too many open
    /// files: that says nothing of the bytes.
    pub fn read(&self, place: Place, buffer: &mut [u8]) -> Result<(), MediaError> {
        let file = self.0.existing(place.slot).map_err(|fault| while_reading(&fault))?;
        let mut filled = 0;
        while let (Some(file), true) = (&file, filled < buffer.len()) {
            match file.read_at(&mut buffer[filled..], u64::from(place.at) + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
                Err(fault) => return Err(while_reading(&fault)),
            }
        }
        buffer[filled..].fill(0);
        Ok(())
    }
}

impl FileShape {
    fn geometry(self) -> Result<Geometry, OpenError> {
        // Whole pages even if units are smaller: the setting may change, the slots may not.
        if self.slots == 0 || self.slot_bytes == 0 || !self.slot_bytes.is_multiple_of(UNIT_BYTES) {
            return Err(OpenError::Shape(self));
        }
        Ok(Geometry {
            slots: self.slots,
            slot_bytes: self.slot_bytes,
            unit_bytes: if self.powersafe { UNIT_BYTES_POWERSAFE } else { UNIT_BYTES },
            overwrites: true,
        })
    }
}

impl OpenError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::System { path, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(shape) => write!(
                f,
                "{} slots of {} bytes can't hold a journal: there must be at least one, of a \
                 multiple of {UNIT_BYTES} bytes",
                shape.slots, shape.slot_bytes
            ),
            Self::InUse { dir, pid: Some(pid) } => write!(
                f,
                "{} is in use by process {pid}: stop it, or choose another directory",
                dir.display()
            ),
            Self::InUse { dir, pid: None } => write!(
                f,
                "{} is in use by another process: stop it, or choose another directory",
                dir.display()
            ),
            Self::System { path, source } => write!(f, "can't open {}: {source}", path.display()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::Shape(_) | Self::InUse { .. } => None,
        }
    }
}

/// Syncs the names of `dir` and of what stands in it.
///
/// # Errors
/// [`OpenError::System`].
pub(crate) fn sync_names(dir: &Path) -> Result<(), OpenError> {
    let sync = |path: &Path| File::open(path)?.sync_all();
    sync(dir).map_err(OpenError::at(dir))?;
    let above = dir.canonicalize().map_err(OpenError::at(dir))?;
    let Some(above) = above.parent() else { return Ok(()) };
    match sync(above) {
        // Who may not look at it did not make anything in it.
        Err(fault) if fault.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(OpenError::at(above)),
    }
}

fn while_writing(fault: &io::Error) -> MediaError {
    match Errno::from_io_error(fault) {
        Some(Errno::NOSPC | Errno::DQUOT) => MediaError::NoSpace,
        _ => {
            // The journal's error has no room for what the system says.
            tracing::warn!(error = %fault, "the disk does not write or sync");
            MediaError::Failed
        }
    }
}

fn while_reading(fault: &io::Error) -> MediaError {
    match Errno::from_io_error(fault) {
        // What drivers and file systems say of bytes that are gone: no other error may become a
        // gap in the log.
        Some(
            Errno::IO
            | Errno::BADMSG
            | Errno::NODATA
            | Errno::ILSEQ
            | Errno::UCLEAN
            | Errno::REMOTEIO,
        ) => MediaError::Unreadable,
        _ => MediaError::Failed,
    }
}

#[cfg(test)]
mod tests;
