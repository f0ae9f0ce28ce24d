//! The control: a file on the same medium that this program writes and syncs by itself.
//!
//! If a block that was synced is gone after a power cut, the medium lost it, whatever the agent
//! did. If it is there, with records gone that had been acknowledged before, the agent acknowledged
//! what it had not synced.
//!
//! ```text
//! block n, at n mod 16, 4 KiB:   landfall-control RUN BLOCK THROUGH CRC, then zeros
//! ```
//!
//! THROUGH is the last number that the ledger had when the block was written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::content::RunId;

/// Where the control files are, in the node's directory.
pub(super) const FOLDER: &str = "torture";
const BLOCKS: u64 = 16;
const BLOCK_BYTES: u64 = 4 << 10;
const MARK: &str = "landfall-control";

/// A control file that is written.
pub(super) struct Control {
    file: File,
    run: RunId,
    next: u64,
}

/// A block as it was found.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Block {
    pub(super) number: u64,
    pub(super) through: u64,
}

impl Control {
    /// Makes the file of a run.
    ///
    /// # Errors
    /// The node's directory can't be written to.
    pub(super) fn create(data: &Path, run: RunId) -> io::Result<Self> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let file = File::options().write(true).create_new(true).open(path(data, run))?;
        file.write_all_at(&vec![0; (BLOCKS * BLOCK_BYTES) as usize], 0)?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        File::open(data)?.sync_all()?;
        Ok(Self { file, run, next: 0 })
    }

    /// Writes the next block, syncs it, and tells its number.
    ///
    /// # Errors
    /// The medium refuses.
    pub(super) fn sync(&mut self, through: u64) -> io::Result<u64> {
        let number = self.next;
        let mut block = text(self.run, Block { number, through }).into_bytes();
        block.resize(BLOCK_BYTES as usize, 0);
        self.file.write_all_at(&block, number % BLOCKS * BLOCK_BYTES)?;
        self.file.sync_data()?;
        self.next += 1;
        Ok(number)
    }
}

/// The newest block of a run that is intact; none if there is none, or no file.
pub(super) fn newest(data: &Path, run: RunId) -> Option<Block> {
    let file = File::open(path(data, run)).ok()?;
    let block = |at: u64| {
        let mut bytes = vec![0; BLOCK_BYTES as usize];
        file.read_exact_at(&mut bytes, at * BLOCK_BYTES).ok()?;
        parsed(run, &bytes)
    };
    (0..BLOCKS).filter_map(block).max()
}

fn path(data: &Path, run: RunId) -> PathBuf {
    data.join(FOLDER).join(format!("{run}.control"))
}

fn text(run: RunId, block: Block) -> String {
    let told = format!("{MARK} {run} {} {}", block.number, block.through);
    let crc = crc32c::crc32c(told.as_bytes());
    format!("{told} {crc:08x}\n")
}

fn parsed(run: RunId, bytes: &[u8]) -> Option<Block> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(bytes.get(..=end)?).ok()?;
    let mut words = line.split_whitespace().skip(2).map_while(|word| word.parse().ok());
    let block = Block { number: words.next()?, through: words.next()? };
    (text(run, block) == line).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_block_is_found_and_a_damaged_one_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (run, other) = (RunId(7), RunId(8));
        let mut control = Control::create(dir.path(), run).unwrap();
        assert_eq!(newest(dir.path(), run), None);
        for number in 0..20 {
            assert_eq!(control.sync(number * 10).unwrap(), number);
        }
        assert_eq!(newest(dir.path(), run), Some(Block { number: 19, through: 190 }));
        assert_eq!(newest(dir.path(), other), None);
        let file = File::options().write(true).open(path(dir.path(), run)).unwrap();
        file.write_all_at(b"x", 3 * BLOCK_BYTES + 20).unwrap();
        assert_eq!(newest(dir.path(), run), Some(Block { number: 18, through: 180 }));
        assert!(Control::create(dir.path(), run).is_err());
    }
}
