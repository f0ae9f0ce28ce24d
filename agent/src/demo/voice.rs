//! What the play says: sentences with the time, and a line that moves where a person looks.

use std::io::{IsTerminal as _, Write};

use crate::clock::{self, Monotonic};

const BAR_CELLS: u64 = 30;

/// Says what happens.
pub(super) struct Voice<'a, W> {
    out: &'a mut W,
    started: Monotonic,
    moving: bool,
    /// Whether a line that moves is on the screen.
    drawn: bool,
}

impl<'a, W: Write> Voice<'a, W> {
    pub(super) fn new(out: &'a mut W) -> Self {
        let moving = std::io::stderr().is_terminal();
        Self { out, started: clock::monotonic(), moving, drawn: false }
    }

    /// Milliseconds since the beginning.
    pub(super) fn taken_ms(&self) -> u64 {
        clock::monotonic().ms_since(self.started)
    }

    /// A sentence with the time.
    pub(super) fn say(&mut self, text: &str) {
        let taken = self.taken_ms();
        let time = format!("{:>4}.{} s  ", taken / 1_000, taken % 1_000 / 100);
        self.print(&time, text);
    }

    /// What belongs to the sentence before.
    pub(super) fn add(&mut self, text: &str) {
        self.print("          ", text);
    }

    /// A line by itself.
    pub(super) fn plain(&mut self, text: &str) {
        self.print("", text);
    }

    /// How far it has come, in a line that is drawn again and again; nothing but on a terminal.
    pub(super) fn draw(&mut self, done: u64, total: u64, what: &str) {
        if !self.moving {
            return;
        }
        let full = (done.min(total) * BAR_CELLS).checked_div(total).unwrap_or(0) as usize;
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(BAR_CELLS as usize - full));
        // A line that can't be shown is no reason to stop.
        let _ = write!(std::io::stderr(), "\r          [{bar}] {what}\x1b[K");
        self.drawn = true;
    }

    /// Takes away what moves.
    pub(super) fn hush(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn print(&mut self, before: &str, text: &str) {
        self.hush();
        for (at, line) in text.split('\n').enumerate() {
            let before = if at == 0 { before.to_owned() } else { " ".repeat(before.len()) };
            // Whoever closed the output does not want to know; the exit code tells.
            let _ = writeln!(self.out, "{}", format!("{before}{line}").trim_end());
        }
        let _ = self.out.flush();
    }
}
