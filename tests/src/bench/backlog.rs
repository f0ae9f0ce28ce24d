//! Input: real positions, and a ship's folder that is full of them.

use std::collections::VecDeque;
use std::io::{self, Error};
use std::path::Path;

use bytes::Bytes;
use landfall::api::{AppendRequest, Backend, Ticket};
use landfall::config::Config;
use landfall::daemon::{self, Daemon, Handle};
use landfall::demo::Sample;
use landfall::event_json::Event;

/// Records in one request when a backlog is made.
const REQUEST_RECORDS: u64 = 256;
/// Requests whose answers are awaited at a time: 4,096 records.
const REQUESTS_MAX: usize = 16;
/// The topic that everything is in.
pub const TOPIC: &str = "ais";
/// Where the number of the ship stands in a line.
const SHIP_AT: usize = "{\"mmsi\":".len();
/// The sample ends less than this many minutes after it begins, so no lap meets another.
const LAP_HOURS: u64 = 24;

/// The sample's lines again and again. Each lap has its own days and its own ships, so that no
/// compression finds the lap before.
pub struct Laps {
    lines: Vec<(String, String, String)>,
    next: u64,
}

impl Laps {
    /// From the first line of the first lap.
    ///
    /// # Panics
    /// If the bundled sample is not what it is.
    #[must_use]
    pub fn new() -> Self {
        let sample = Sample::unpack();
        let parse = |line: &str| {
            let (_, rest) = line.split_once("\"mmsi\":").expect("each line has an id");
            let (ship, rest) = rest.split_once(",\"time\":\"").expect("a time follows the id");
            let (time, rest) = rest.split_once('"').expect("the time ends");
            let clock = time.split_once('T').expect("a time follows the date").1;
            (ship.to_owned(), clock.to_owned(), rest.to_owned())
        };
        Self { lines: sample.lines(0..sample.count()).lines().map(parse).collect(), next: 0 }
    }
}

impl Default for Laps {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for Laps {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let laps = self.next / self.lines.len() as u64;
        let (ship, clock, rest) = &self.lines[(self.next % self.lines.len() as u64) as usize];
        self.next += 1;
        let ship = ship.parse::<u64>().ok()? + laps * 7_919;
        // 24 hours a lap, in a calendar of months of 28 days.
        let days = laps * LAP_HOURS / 24;
        let (year, month, day) = (2022 + days / 336, 1 + days / 28 % 12, 1 + days % 28);
        Some(format!("{{\"mmsi\":{ship},\"time\":\"{year}-{month:02}-{day:02}T{clock}\"{rest}"))
    }
}

/// Waits for nobody: records one after another, with a bounded number of requests in flight.
pub struct Appender {
    handle: Handle,
    tickets: VecDeque<Ticket>,
    in_flight: usize,
}

impl Appender {
    /// Appends through `handle`, with at most `in_flight` requests unanswered.
    #[must_use]
    pub fn new(handle: Handle, in_flight: usize) -> Self {
        Self { handle, tickets: VecDeque::new(), in_flight }
    }

    /// Appends some records as one request.
    ///
    /// # Errors
    /// This request or one before it was refused.
    pub async fn append(&mut self, topic: &str, values: Vec<Bytes>) -> io::Result<()> {
        let events = values.into_iter().zip(1..);
        self.append_events(topic, events.map(|(value, line)| Event::of(line, value)).collect())
            .await
    }

    async fn append_events(&mut self, topic: &str, events: Vec<Event>) -> io::Result<()> {
        if self.tickets.len() >= self.in_flight {
            self.answered().await?;
        }
        let (request, topic) = (1, topic.to_owned());
        let request = AppendRequest { request, topic, partition: None, producer: None, events };
        self.tickets.push_back(self.handle.append(request).await.map_err(Error::other)?);
        Ok(())
    }

    async fn answered(&mut self) -> io::Result<()> {
        match self.tickets.pop_front() {
            Some(ticket) => ticket.await.map(drop).map_err(Error::other),
            None => Ok(()),
        }
    }

    /// Waits for all answers.
    ///
    /// # Errors
    /// One was a refusal.
    pub async fn finish(mut self) -> io::Result<()> {
        while !self.tickets.is_empty() {
            self.answered().await?;
        }
        Ok(())
    }
}

/// Opens a node without its network.
///
/// # Errors
/// It can't be opened.
pub fn offline(data: &Path) -> io::Result<Daemon> {
    let config = Config::load(None, data, []).map_err(Error::other)?;
    let opened = daemon::open(data, config).map_err(Error::other)?;
    Daemon::start(opened, false).map_err(Error::other)
}

/// What a ship has to bring.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// How many records.
    pub records: u64,
    /// Bytes of their lines of JSON.
    pub json_bytes: u64,
    /// Bytes that they take on the disk.
    pub stored_bytes: u64,
}

/// Fills a ship's folder with that many records, many in flight.
///
/// # Errors
/// The node refuses.
pub async fn fill(data: &Path, records: u64) -> io::Result<Backlog> {
    fill_with(data, records, (REQUEST_RECORDS, REQUESTS_MAX), Event::of).await
}

/// The same with the ship of each position as its key.
///
/// # Errors
/// The node refuses.
pub async fn fill_by_ship(data: &Path, records: u64) -> io::Result<Backlog> {
    let by_ship = |line, value: Bytes| {
        let end = value.iter().position(|byte| *byte == b',').unwrap_or(value.len());
        let key = Some(value.slice(SHIP_AT.min(end)..end));
        Event { key, ..Event::of(line, value) }
    };
    fill_with(data, records, (REQUEST_RECORDS, REQUESTS_MAX), by_ship).await
}

/// The same with one commit for each record.
///
/// # Errors
/// The node refuses.
pub async fn trickle(data: &Path, records: u64) -> io::Result<Backlog> {
    fill_with(data, records, (1, 1), Event::of).await
}

async fn fill_with(
    data: &Path,
    records: u64,
    (each, in_flight): (u64, usize),
    event: impl Fn(u64, Bytes) -> Event,
) -> io::Result<Backlog> {
    let daemon = offline(data)?;
    let mut appender = Appender::new(daemon.handle.clone(), in_flight);
    let (mut laps, mut left, mut json_bytes) = (Laps::new(), records, 0);
    while left > 0 {
        let now = left.min(each);
        let values = laps.by_ref().take(now as usize).map(Bytes::from);
        let values = values.inspect(|value| json_bytes += value.len() as u64 + 1);
        let events = (1..).zip(values).map(|(line, value)| event(line, value)).collect();
        appender.append_events(TOPIC, events).await?;
        left -= now;
    }
    appender.finish().await?;
    let status = daemon.handle.status().await.map_err(Error::other)?;
    let stored_bytes = status.lanes.iter().map(|lane| lane.used_bytes).sum();
    daemon.stop().await;
    Ok(Backlog { records, json_bytes, stored_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_differ_in_ships_and_days() {
        let lines: Vec<_> = Laps::new().take(10_001).collect();
        assert_ne!(lines[0], lines[5_000]);
        assert_ne!(lines[5_000], lines[10_000]);
        for line in [&lines[0], &lines[5_000], &lines[10_000]] {
            let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
            assert!(value["mmsi"].is_u64() && value["time"].is_string(), "{line}");
        }
        assert!(lines[10_000].contains("\"2022-01-03T"), "{}", lines[10_000]);
    }
}
