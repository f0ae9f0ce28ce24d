//! What only people see: progress and tables.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::quantity::{ByteSize, count_text, duration_text};

/// A line on standard error that is drawn again and again; nothing where that is no terminal.
#[derive(Debug)]
pub struct Progress {
    started: Monotonic,
    drawn: Option<Monotonic>,
    enabled: bool,
    bytes_total: Option<u64>,
}

/// Pause between two drawings; more often, nobody can read them.
const DRAW_EVERY_MS: u64 = 100;

impl Progress {
    /// A progress that begins at `now`, towards a number of bytes if it is known.
    #[must_use]
    pub fn new(now: Monotonic, bytes_total: Option<u64>) -> Self {
        let enabled = std::io::stderr().is_terminal();
        Self { started: now, drawn: None, enabled, bytes_total }
    }

    /// Draws the line if it is time to.
    pub fn update(&mut self, now: Monotonic, bytes: u64, records: u64) {
        let recent = self.drawn.is_some_and(|drawn| now.ms_since(drawn) < DRAW_EVERY_MS);
        if !self.enabled || recent {
            return;
        }
        self.drawn = Some(now);
        let line = progress_line(bytes, records, self.bytes_total, now.ms_since(self.started));
        // Progress that cannot be shown is no reason to stop.
        let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
    }

    /// Takes the line away and says how it ended, where a person is looking.
    pub fn finish(&mut self, now: Monotonic, summary: &str) {
        if self.enabled {
            let taken = duration_text(Duration::from_millis(now.ms_since(self.started)));
            // As above.
            let _ = writeln!(std::io::stderr(), "\r{summary} in {taken}\x1b[K");
        }
    }
}

/// One line: how much, how fast, how long still.
#[must_use]
pub fn progress_line(bytes: u64, records: u64, bytes_total: Option<u64>, taken_ms: u64) -> String {
    let taken_ms = taken_ms.max(1);
    let per_second = records.saturating_mul(1_000) / taken_ms;
    let mut line = format!(
        "{} records  {}  {}/s",
        count_text(records),
        ByteSize(bytes),
        count_text(per_second)
    );
    if let Some(total) = bytes_total.filter(|total| *total > 0) {
        let percent = u128::from(bytes.min(total)) * 100 / u128::from(total);
        line = format!("{percent:3}%  {line}");
        if bytes > 0 {
            let left = u128::from(total.saturating_sub(bytes)) * u128::from(taken_ms);
            let left_ms = u64::try_from(left / u128::from(bytes)).unwrap_or(u64::MAX);
            line.push_str(&format!("  {} left", duration_text(whole_seconds(left_ms))));
        }
    }
    line
}

fn whole_seconds(ms: u64) -> Duration {
    Duration::from_secs(ms.div_ceil(1_000))
}

/// A table with a head; columns whose head begins with `>` are aligned to the right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|head| head.starts_with('>')).collect();
        let head = heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![head], right }
    }

    /// Adds a row, with one cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.right.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The lines, each with an end.
    #[must_use]
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let columns = row.iter().zip(&widths).zip(&self.right);
            let cells = columns.map(|((cell, width), right)| {
                if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// How long ago `then_ms` was at `now_ms`, both since 1970: `3m ago`, or `in 2d`.
#[must_use]
pub fn ago(then_ms: i64, now_ms: i64) -> String {
    let apart = whole_seconds(now_ms.abs_diff(then_ms) / 1_000 * 1_000);
    match now_ms.abs_diff(then_ms) {
        0..1_000 => "now".to_owned(),
        _ if then_ms > now_ms => format!("in {}", duration_text(apart)),
        _ => format!("{} ago", duration_text(apart)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_fast_and_how_long_still() {
        let line = progress_line(1 << 20, 5_000, Some(4 << 20), 2_000);
        assert_eq!(line, " 25%  5,000 records  1 MiB  2,500/s  6s left");
        assert_eq!(progress_line(0, 0, None, 0), "0 records  0 B  0/s");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["lane", ">behind"]);
        table.row(["urgent".to_owned(), "7".to_owned()]);
        assert_eq!(table.text(), "lane    behind\nurgent       7\n");
        assert_eq!(ago(1_000, 186_500), "3m 5s ago");
        assert_eq!(ago(5_000, 1_000), "in 4s");
    }
}
