//! Every limit of the stored format, in one place.

/// The longest name of a site.
pub const SITE_BYTES_MAX: usize = 63;
/// The longest name of a topic.
pub const TOPIC_BYTES_MAX: usize = 127;
/// The longest encoded record. With its batch's head it must fit an entry.
pub const RECORD_BYTES_MAX: usize = 240 * 1024;
/// The most headers a record may have.
pub const HEADERS_MAX: usize = 64;
/// The longest body of an entry, here and on every wire.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// The most bytes that are synced together.
pub const COMMIT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most entries in a commit: the index is 16 bits wide.
pub const COMMIT_ENTRIES_MAX: usize = u16::MAX as usize;
/// Bodies are joined up to this size as they are sent.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;
/// Lanes of a node, without the control lane.
pub const LANES_MAX: usize = 7;
/// The most nodes a record may pass on its way; more is a loop.
pub const HOPS_MAX: usize = 8;
/// Older points of a branch that its frontier keeps, to find a fork without reading the log.
pub const RUNGS_MAX: usize = 32;
/// Openings that a journal remembers with their parents.
pub const OPENINGS_MAX: usize = 32;
/// Journals of which a node keeps the last promise that it heard.
pub const HEARD_MAX: usize = 4;
/// No offset, seq or commit comes near this; a larger one in an input is refused.
pub const COUNTER_MAX: u64 = 1 << 62;

const _: () = assert!(RECORD_BYTES_MAX + 1024 <= ENTRY_BYTES_MAX, "a record fits into an entry");
const _: () = assert!(ENTRY_BYTES_MAX * 2 <= COMMIT_BYTES_MAX, "a commit holds several entries");
const _: () = assert!(JOINED_BYTES_MAX <= ENTRY_BYTES_MAX, "a joined body is a body");

#[cfg(test)]
mod tests {
    use std::format;

    macro_rules! documented {
        ($($name:ident),*) => {
            const DOCUMENT: &str = include_str!("../../docs/format.md");
            $(
                let row = format!("| `{}` | {} |", stringify!($name), super::$name);
                assert!(DOCUMENT.contains(&row), "docs/format.md lacks {row}");
            )*
        };
    }

    #[test]
    fn the_document_of_the_format_names_the_same_limits() {
        documented!(
            SITE_BYTES_MAX,
            TOPIC_BYTES_MAX,
            RECORD_BYTES_MAX,
            HEADERS_MAX,
            ENTRY_BYTES_MAX,
            COMMIT_BYTES_MAX,
            COMMIT_ENTRIES_MAX,
            JOINED_BYTES_MAX,
            LANES_MAX,
            HOPS_MAX,
            RUNGS_MAX,
            OPENINGS_MAX,
            HEARD_MAX,
            COUNTER_MAX
        );
    }
}
