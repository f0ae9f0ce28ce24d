//! What a hub knows of its group without Kafka: a small file in its data directory.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use landfall_core::num::LogId;

use crate::whole_file::write_whole;

/// Which log the group was, and which of its shards this hub owned last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Known {
    pub(super) log: LogId,
    pub(super) shards: BTreeSet<u32>,
}

impl Known {
    /// What is there, if there is a file: the log in hexadecimal digits, and in another line the
    /// numbers of the shards.
    ///
    /// # Errors
    /// There is one that can't be read: it must not be taken for none.
    pub(super) fn read(file: &Path) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let mut lines = text.lines();
        let log = lines.next().and_then(|log| u64::from_str_radix(log.trim(), 16).ok());
        let log = log.ok_or_else(|| io::Error::other("it does not begin with a log"))?;
        let shards = lines.next().unwrap_or_default().split(' ');
        let shards = shards.filter_map(|shard| shard.parse().ok()).collect();
        Ok(Some(Self { log: LogId::new(log), shards }))
    }

    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let shards: Vec<_> = self.shards.iter().map(ToString::to_string).collect();
        let text = format!("{:016x}\n{}\n", self.log.get(), shards.join(" "));
        write_whole(file, text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_log_alone_has_no_shards() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kafka.log");
        assert_eq!(Known::read(&file).unwrap(), None);
        let known = Known { log: LogId::new(0xa1), shards: [0, 3, 12].into() };
        known.write(&file).unwrap();
        assert_eq!(Known::read(&file).unwrap(), Some(known));
        std::fs::write(&file, "00000000000000a1\n").unwrap();
        let alone = Known { log: LogId::new(0xa1), shards: [].into() };
        assert_eq!(Known::read(&file).unwrap(), Some(alone));
        for damaged in ["", "no log\n"] {
            std::fs::write(&file, damaged).unwrap();
            assert!(Known::read(&file).is_err(), "{damaged:?} is taken for no file");
        }
    }
}
