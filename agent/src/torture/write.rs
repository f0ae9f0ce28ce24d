//! The writer: rounds of one request each, noted in the ledger before the next one begins.
//!
//! Numbers are the producer's sequences, so that a request that broke off is repeated from what was
//! acknowledged, and no record is written twice.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use serde::Deserialize;

use super::content::{RunId, batch, line};
use super::control::Control;
use super::ledger::{Ledger, Line};
use crate::api::{AppendDone, Client, ClientError, ErrorCode, ReadEnd, ReceiptLine, SpanText};
use crate::cli::terminal::Progress;
use crate::cli::{Exit, Failure};
use crate::clock::{self, Monotonic};
use crate::quantity::{count_text, counted, duration_text};

/// What a run is to do.
pub(super) struct Plan {
    pub(super) topic: String,
    /// Records a second at most.
    pub(super) rate: u64,
    /// When to stop.
    pub(super) records: Option<u64>,
}

/// What a run did.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub(super) struct Wrote {
    pub(super) run: RunId,
    pub(super) acknowledged: u64,
    /// Lines of the ledger, each synced.
    pub(super) ledger_lines: u64,
    pub(super) taken_ms: u64,
    /// How often the node did not take records for a while.
    pub(super) outages: u64,
}

/// A run under way.
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) plan: &'a Plan,
    pub(super) run: RunId,
    pub(super) ledger: Ledger,
    pub(super) control: Control,
    /// All numbers below are acknowledged.
    next: u64,
    /// Where the journal ended when it was asked last.
    cursor: Option<String>,
    started: Monotonic,
    bytes: u64,
    synced: Option<Monotonic>,
    outages: u64,
    /// Since when the node takes no records.
    away: Option<Monotonic>,
}

/// Pause between two attempts to reach a node that is away or full.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Pause between two blocks of the control file. Its syncs may flush what the agent left unsynced;
/// most rounds must do without.
const CONTROL_EVERY_MS: u64 = 100;

/// Why a round did not come to its end.
enum Broken {
    /// The node is away, or full, and may be back.
    ForNow(String),
    Failed(Failure),
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        client: &'a Client,
        plan: &'a Plan,
        (run, ledger, control): (RunId, Ledger, Control),
    ) -> Self {
        let started = clock::monotonic();
        let (cursor, synced) = (None, None);
        Self {
            client,
            plan,
            run,
            ledger,
            control,
            next: 1,
            cursor,
            started,
            bytes: 0,
            synced,
            outages: 0,
            away: None,
        }
    }

    /// Writes until it is interrupted, or has written what it should.
    ///
    /// # Errors
    /// The node refuses for good, or ledger or control file can't be written.
    pub(super) async fn write(
        mut self,
        interrupted: impl Future<Output = ()>,
    ) -> Result<Wrote, Failure> {
        let mut progress = Progress::new(self.started, None);
        tokio::pin!(interrupted);
        let outcome = loop {
            if self.left() == Some(0) {
                break Ok(());
            }
            tokio::select! {
                biased;
                () = &mut interrupted => break Ok(()),
                step = self.step() => if let Err(failure) = step { break Err(failure) },
            }
            progress.update(clock::monotonic(), self.bytes, self.next - 1);
        };
        let acknowledged = self.next - 1;
        let wrote = Wrote {
            run: self.run,
            acknowledged,
            ledger_lines: self.ledger.lines(),
            taken_ms: clock::monotonic().ms_since(self.started),
            outages: self.outages,
        };
        progress.finish(clock::monotonic(), &wrote.text());
        outcome?;
        self.note(&[Line::Stopped { acknowledged }])?;
        Ok(wrote)
    }

    fn left(&self) -> Option<u64> {
        Some(self.plan.records?.saturating_sub(self.next - 1))
    }

    /// A round, the control block behind it, and a pause if it was too fast.
    async fn step(&mut self) -> Result<(), Failure> {
        match self.round().await {
            Ok(()) => self.goes_on(),
            Err(Broken::Failed(failure)) => return Err(failure),
            Err(Broken::ForNow(why)) => self.wait(&why).await,
        }
        let now = clock::monotonic();
        if self.synced.is_none_or(|synced| now.ms_since(synced) >= CONTROL_EVERY_MS) {
            let block = self.control.sync(self.next - 1).map_err(cannot_control)?;
            self.note(&[Line::Control { block }])?;
            self.synced = Some(now);
        }
        let due_ms = (self.next - 1).saturating_mul(1_000) / self.plan.rate;
        let taken_ms = clock::monotonic().ms_since(self.started);
        tokio::time::sleep(Duration::from_millis(due_ms.saturating_sub(taken_ms))).await;
        Ok(())
    }

    /// Waits a little; says why when it is the first time.
    async fn wait(&mut self, why: &str) {
        if self.away.is_none() {
            self.away = Some(clock::monotonic());
            self.outages += 1;
            eprintln!("landfall torture: {why}; trying again");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }

    /// Says that the node takes records again, if it did not.
    fn goes_on(&mut self) {
        if let Some(since) = self.away.take() {
            let away = Duration::from_millis(clock::monotonic().ms_since(since));
            eprintln!("landfall torture: it goes on, after {}", duration_text(away));
        }
    }

    /// Appends a batch, asks how far the journal has come, and notes both.
    async fn round(&mut self) -> Result<(), Broken> {
        let count = batch(self.run, self.next).min(self.left().unwrap_or(u64::MAX));
        let mut acked = Vec::new();
        let appended = self.append(count, &mut acked).await;
        let asked = match acked.is_empty() {
            true => Ok(()),
            false => self.ask().await,
        };
        for line in &mut acked {
            if let Line::Acked { count, cursor, .. } = line {
                self.next += *count;
                cursor.clone_from(&self.cursor);
            }
        }
        if !acked.is_empty() {
            self.note(&acked).map_err(Broken::Failed)?;
        }
        appended.and(asked)
    }

    /// Appends so many records; puts what is acknowledged into `acked`, whatever comes then.
    async fn append(&mut self, count: u64, acked: &mut Vec<Line>) -> Result<(), Broken> {
        let lines = (self.next..self.next + count).map(|number| line(self.run, number) + "\n");
        let body = Bytes::from(lines.collect::<String>());
        let bytes = body.len() as u64;
        let (run, next) = (self.run, self.next);
        let query = format!("partition=0&producer=torture-{run}&first_sequence={next}");
        let mut answer = self.client.append(&self.plan.topic, &query, Full::new(body)).await?;
        let mut through = 0;
        while let Some(text) = answer.next().await? {
            match serde_json::from_slice(&text) {
                Ok(Answer::Done { .. }) => {
                    self.bytes += bytes;
                    return Ok(());
                }
                Ok(Answer::Receipt(receipt)) => {
                    acked.extend(acknowledged(next + through, through, &receipt));
                    through = receipt.through_line.max(through);
                }
                Err(error) => return Err(failed(format!("an unknown receipt: {error}"))),
            }
        }
        Err(Broken::ForNow("the node ended its answer early".to_owned()))
    }

    /// Reads on to the end of the topic, which tells the last commit.
    async fn ask(&mut self) -> Result<(), Broken> {
        let query = match &self.cursor {
            None => "from=latest".to_owned(),
            Some(cursor) => format!("after={cursor}"),
        };
        // An older one would not tell how far the journal is now.
        self.cursor = None;
        let mut lines = self.client.read(&self.plan.topic, &query).await?;
        while let Some(text) = lines.next().await? {
            if text.starts_with(b"{\"end\":") {
                let End { end } = serde_json::from_slice(&text)
                    .map_err(|error| failed(format!("an unknown answer: {error}")))?;
                self.cursor = Some(end.cursor);
                return Ok(());
            }
        }
        Err(Broken::ForNow("the node ended its answer early".to_owned()))
    }

    fn note(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let place = self.ledger.place().to_owned();
        self.ledger.add(lines).map_err(|error| cannot_note(&place, &error))
    }
}

/// The lines of a ledger that a receipt makes; the first number that it stands for is given, and
/// the line of the request before it.
fn acknowledged(first: u64, through: u64, receipt: &ReceiptLine) -> Vec<Line> {
    let count = receipt.through_line.saturating_sub(through);
    let written: u64 = receipt.written.iter().map(|span| span.count).sum();
    if count == 0 {
        return Vec::new();
    }
    if written != count {
        // Some were there already, and the receipt does not tell which.
        return vec![Line::Acked { first, count, at: None, cursor: None }];
    }
    let mut next = first;
    let line = |SpanText { first: at, count }: &SpanText| {
        let first = next;
        next += count;
        Line::Acked { first, count: *count, at: Some(at.clone()), cursor: None }
    };
    receipt.written.iter().map(line).collect()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Done {
        #[expect(dead_code, reason = "it tells the last line from a receipt")]
        done: AppendDone,
    },
    Receipt(ReceiptLine),
}

#[derive(Deserialize)]
struct End {
    end: ReadEnd,
}

fn failed(why: String) -> Broken {
    Broken::Failed(Failure::refused(format!("landfall torture: {why}")))
}

fn cannot_control(error: io::Error) -> Failure {
    Failure::refused(format!(
        "landfall torture: the control file in the node's directory can't be written: {error}; the \
         ledger tells what was acknowledged until now"
    ))
}

pub(super) fn cannot_note(place: &str, error: &io::Error) -> Failure {
    Failure {
        exit: Exit::Refused,
        message: format!(
            "landfall torture: the ledger can't be written to {place}: {error}; nothing more was \
             appended"
        ),
    }
}

impl From<ClientError> for Broken {
    fn from(error: ClientError) -> Self {
        let full = |code| matches!(code, ErrorCode::LaneFull | ErrorCode::DiskFull);
        let passes = match &error {
            // The log went back to where the cursor does not reach; it is asked for anew.
            ClientError::Refused(error) if error.code == ErrorCode::Gone => true,
            ClientError::Refused(error) if full(error.code) => true,
            other => other.may_pass(),
        };
        if passes { Self::ForNow(error.to_string()) } else { failed(error.to_string()) }
    }
}

impl Wrote {
    /// One line for people.
    pub(super) fn text(&self) -> String {
        let per_second =
            |count: u64| count_text(count.saturating_mul(1_000) / self.taken_ms.max(1));
        format!(
            "run {}: {} acknowledged, {}/s; {} of the ledger, {}/s",
            self.run,
            counted(self.acknowledged, "record"),
            per_second(self.acknowledged),
            counted(self.ledger_lines, "line"),
            per_second(self.ledger_lines),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_becomes_lines_with_the_numbers_it_stands_for() {
        let span = |first: &str, count| SpanText { first: first.to_owned(), count };
        let line = |first, count, at: Option<&str>| Line::Acked {
            first,
            count,
            at: at.map(str::to_owned),
            cursor: None,
        };
        let written = vec![span("s/t/0@7~a", 2), span("s/t/0@9~b", 1)];
        let receipt = ReceiptLine { written, duplicates: 0, through_line: 5 };
        let wanted = [line(41, 2, Some("s/t/0@7~a")), line(43, 1, Some("s/t/0@9~b"))];
        assert_eq!(acknowledged(41, 2, &receipt), wanted);
        let repeated = ReceiptLine { duplicates: 1, through_line: 6, ..receipt };
        assert_eq!(acknowledged(41, 2, &repeated), [line(41, 4, None)]);
        let none = ReceiptLine { written: Vec::new(), duplicates: 0, through_line: 2 };
        assert_eq!(acknowledged(41, 2, &none), []);
    }
}
