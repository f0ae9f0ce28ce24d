//! NOR flash in a file of the host, so that it stays when the power goes. As on a chip, programming
//! only clears bits, word by word, and an erase takes its time.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use semihosting::fs::File;
use semihosting::io::{Read, Seek, SeekFrom, Write};

/// Bytes that are erased together.
pub(crate) const BLOCK_BYTES: u32 = 4096;
/// Bytes that are programmed together.
const WORD_BYTES: usize = 8;
/// Bytes that are erased before the power can go.
const ERASED_AT_ONCE: usize = 64;

/// The file `flash.bin`, in the folder that the emulator runs in.
pub(crate) struct FileFlash {
    file: File,
    bytes: usize,
}

/// The host could not do it.
#[derive(Debug)]
pub(crate) struct FileError;

impl FileFlash {
    /// Opens the file, if it is there.
    pub(crate) fn open() -> Option<Self> {
        let file = File::options().read(true).write(true).open(c"flash.bin").ok()?;
        let bytes = file.metadata().ok()?.len() as usize;
        Some(Self { file, bytes })
    }

    fn read_at(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), FileError> {
        self.file.seek(SeekFrom::Start(u64::from(at))).map_err(|_| FileError)?;
        let read = self.file.read(bytes).map_err(|_| FileError)?;
        if read == bytes.len() { Ok(()) } else { Err(FileError) }
    }

    fn write_at(&mut self, at: u32, bytes: &[u8]) -> Result<(), FileError> {
        self.file.seek(SeekFrom::Start(u64::from(at))).map_err(|_| FileError)?;
        let written = self.file.write(bytes).map_err(|_| FileError)?;
        if written == bytes.len() { Ok(()) } else { Err(FileError) }
    }
}

impl NorFlashError for FileError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for FileFlash {
    type Error = FileError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FileError> {
        self.read_at(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = WORD_BYTES;
    const ERASE_SIZE: usize = BLOCK_BYTES as usize;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FileError> {
        for at in (from..to).step_by(ERASED_AT_ONCE) {
            self.write_at(at, &[0xFF; ERASED_AT_ONCE])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FileError> {
        for (at, word) in (offset..).step_by(WORD_BYTES).zip(bytes.chunks(WORD_BYTES)) {
            let mut held = [0; WORD_BYTES];
            let held = held.get_mut(..word.len()).ok_or(FileError)?;
            self.read_at(at, held)?;
            held.iter_mut().zip(word).for_each(|(held, bits)| *held &= *bits);
            self.write_at(at, held)?;
        }
        Ok(())
    }
}
