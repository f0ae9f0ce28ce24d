//! Windows of time: which of them a record is in, when they are closed, and when they go.
//!
//! A record's time is its timestamp. Every record counts, however late: a ship that was away for
//! a week fills the windows of that week. Closed is a word about a window and no bar to it; it is
//! said when the window's end and the grace after it have passed, by the latest record or by the
//! clock on the wall, so that the last window of a device where nothing happens is closed, too.

use super::*;

/// Windows of one length that begin every so often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window {
    /// Milliseconds from its beginning to its end, which is not in it.
    pub size_ms: u64,
    /// Milliseconds from one beginning to the next: the size, or less where windows overlap.
    pub every_ms: u64,
    /// Milliseconds to wait behind its end before it is closed.
    pub grace_ms: u64,
    /// Milliseconds to keep it behind its end; for ever if there are none.
    pub keep_ms: Option<u64>,
}

/// Windows that one record may be in.
const OVERLAP_MAX: u64 = 100;
/// How often to look for windows to close or to sweep.
const LOOK_EVERY_MS: (u64, u64) = (1_000, 10_000);

impl Window {
    /// Refuses what makes no windows.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.every_ms == 0 || self.every_ms > self.size_ms {
            return Err("windows begin at least once in their `size`; make `every` shorter".into());
        }
        if self.size_ms / self.every_ms > OVERLAP_MAX {
            return Err(format!(
                "a record would be in more than {OVERLAP_MAX} windows; make `every` longer"
            ));
        }
        Ok(())
    }

    /// The beginning of the newest window that a record is in.
    pub(super) fn newest_start(&self) -> String {
        let every = self.every_ms;
        format!(":timestamp - ((:timestamp % {every}) + {every}) % {every}")
    }

    /// The subquery `w` with the beginnings of all windows that a record is in; none where one
    /// expression says it.
    pub(super) fn starts(&self) -> Option<String> {
        let Self { size_ms, every_ms, .. } = self;
        let newest = self.newest_start();
        (size_ms > every_ms).then(|| {
            format!(
                "WITH RECURSIVE w(start) AS (\n  SELECT {newest}\n  UNION ALL\n  SELECT start - \
                 {every_ms} FROM w WHERE start - {every_ms} > :timestamp - {size_ms})\n"
            )
        })
    }

    /// Up to where the windows of `name` are closed, in a table of its own.
    pub(super) fn ddl(&self, name: &str) -> String {
        format!(
            "CREATE TABLE {name}_clock(one INTEGER PRIMARY KEY CHECK(one = 1), at INTEGER NOT \
             NULL);\nINSERT INTO {name}_clock VALUES(1, 0);\n"
        )
    }

    /// The columns of a window, as its view shows them.
    pub(super) fn columns(&self, name: &str) -> String {
        let behind = self.size_ms + self.grace_ms;
        format!("\"start\", \"start\" + {} AS \"end\", ", self.size_ms)
            + &format!("\"start\" + {behind} <= (SELECT at FROM {name}_clock) AS closed, ")
    }

    /// What closes windows, and what takes away those that are old.
    pub(super) fn retention(&self, name: &str) -> Retention {
        let behind = self.size_ms + self.grace_ms;
        let now = "max(:now, coalesce(:watermark, :now))";
        // Up to the newest window that is over; where that is none other, nothing is written.
        let newest = format!(
            "coalesce((SELECT max(\"start\") + {behind} FROM {name}_rows\n  WHERE \"start\" <= \
             {now} - {behind}), 0)"
        );
        let close = format!("UPDATE {name}_clock SET at = {newest}\nWHERE at <> {newest}");
        // The clock and the records must agree that it is old: either may be wrong by decades.
        let sweep = self.keep_ms.map(|keep| {
            let old = self.size_ms + keep;
            format!("DELETE FROM {name}_rows WHERE \"start\" <= min(:now, :watermark) - {old}")
        });
        let every_ms = self.every_ms.clamp(LOOK_EVERY_MS.0, LOOK_EVERY_MS.1);
        Retention { statements: [Some(close), sweep].into_iter().flatten().collect(), every_ms }
    }
}
