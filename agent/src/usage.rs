//! What the system counts of this process.

use std::fs;

/// Bytes that this process has given to be written to any file, or dropped before they were. None
/// where the system does not count.
#[must_use]
pub fn written_bytes() -> Option<u64> {
    number(&fs::read_to_string("/proc/self/io").ok()?, "write_bytes:")
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
