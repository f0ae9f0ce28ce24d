//! What the system counts of this process.

use std::fs;

/// Bytes that this process has given to be written to any file, or dropped before they were. None
/// where the system does not count.
#[must_use]
pub fn written_bytes() -> Option<u64> {
    number(&fs::read_to_string("/proc/self/io").ok()?, "write_bytes:")
}

/// Bytes of this process that are in memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Memory {
    /// What is nowhere else: heap and stacks.
    pub own: u64,
    /// With what was read of files, such as the program's, which the system drops when it must.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

/// What this process takes. None where the system does not say.
#[must_use]
pub fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |word| Some(number(&text, word)? * 1_024);
    let (own, resident) = (bytes("RssAnon:")?, bytes("VmRSS:")?);
    Some(Memory { own, resident, peak: bytes("VmHWM:")? })
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_words() {
        let text = "wchar: 5\nwrite_bytes: 4096\nVmRSS:\t  6172 kB\ncancelled_write_bytes: 1\n";
        assert_eq!(number(text, "write_bytes:"), Some(4_096));
        assert_eq!(number(text, "VmRSS:"), Some(6_172));
        assert_eq!(number(text, "VmHWM:"), None);
    }
}
