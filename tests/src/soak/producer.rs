//! Producers: each appends one request after the other, for as long as the soak goes on.
//!
//! A line is `{"p":PRODUCER,"n":NUMBER,"k":KEY,"pad":…,"sum":CRC}`; padding, key and checksum
//! follow from producer and number. A producer that numbers its lines for the node sends again
//! what has no receipt; one that does not never sends a line twice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::{Client, ClientError, ErrorCode, ReceiptLine};
use landfall::coordinates::Coordinates;
use serde_json::Value;
use tokio::sync::watch;

use super::ledger::{Acked, Ledger};
use crate::process::{PATIENCE, pause};
use landfall_simulation::rng::Rng;

/// How a producer appends.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Where to.
    pub topic: &'static str,
    /// The name under which it numbers its lines.
    pub name: Option<&'static str>,
    /// Its partition; by key if none.
    pub partition: Option<u32>,
}

/// All producers. Topics and partitions are those of the pair's settings.
pub const PRODUCERS: [Spec; 6] = [
    Spec { topic: "log", name: None, partition: Some(0) },
    Spec { topic: "log", name: None, partition: None },
    Spec { topic: "log", name: Some("single"), partition: Some(0) },
    Spec { topic: "log", name: Some("spread"), partition: None },
    Spec { topic: "alert", name: None, partition: Some(0) },
    Spec { topic: "alert", name: Some("single"), partition: Some(0) },
];

/// The longest wait between two requests of a producer.
const PAUSE_MS_MAX: u64 = 120;
/// The longest wait before a node that does not answer is tried again.
const RETRY_MS_MAX: u64 = 20;

/// The key of a record.
pub fn key(producer: usize, number: u64) -> String {
    format!("{}", Rng::new(number ^ (producer as u64) << 56).below(50))
}

/// The value of a record.
pub fn line(producer: usize, number: u64) -> String {
    let mut rng = Rng::new(number ^ (producer as u64) << 56);
    let key = rng.below(50);
    let length = if rng.chance(1, 200) { rng.below(20_000) } else { rng.below(120) };
    let pad: String = (0..length).map(|_| *rng.pick(b"abcdefghijklmnop") as char).collect();
    let body = format!(r#""p":{producer},"n":{number},"k":{key},"pad":"{pad}""#);
    let sum = crc32c::crc32c(body.as_bytes());
    format!(r#"{{{body},"sum":{sum}}}"#)
}

/// Which record a value is, if it is one of a soak.
pub fn told(value: &[u8]) -> Option<(usize, u64)> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let producer = usize::try_from(value.get("p")?.as_u64()?).ok()?;
    Some((producer, value.get("n")?.as_u64()?))
}

/// Appends until told to stop; what was sent under a name is then sent until it has a receipt.
///
/// # Errors
/// The node refuses what it must take, or takes what it must refuse.
pub async fn produce(
    who: usize,
    client: Client,
    ledger: Arc<Mutex<Ledger>>,
    seed: u64,
    stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut rng = Rng::new(seed ^ (who as u64 + 1) << 48);
    let named = PRODUCERS[who].name.is_some();
    loop {
        let (next, acked) = {
            let ledger = ledger.lock().map_err(|error| error.to_string())?;
            (ledger.book(who).next, ledger.book(who).acked_to())
        };
        let pending = if named { next - acked } else { 0 };
        if pending == 0 && *stop.borrow() {
            return Ok(());
        }
        let (first, count) =
            if pending > 0 { (acked, pending) } else { (next, batch_size(&mut rng)) };
        let request = Request { who, first, count, client: &client, ledger: &ledger };
        let wait = match request.send().await? {
            Sent::All => rng.below(PAUSE_MS_MAX),
            Sent::Broken => rng.below(RETRY_MS_MAX),
        };
        pause(Duration::from_millis(wait)).await;
    }
}

fn batch_size(rng: &mut Rng) -> u64 {
    match rng.below(100) {
        0 => 1_000 + rng.below(2_000),
        1..30 => 1,
        _ => 1 + rng.below(16),
    }
}

enum Sent {
    All,
    /// The node went away; what has no receipt is in doubt.
    Broken,
}

struct Request<'a> {
    who: usize,
    first: u64,
    count: u64,
    client: &'a Client,
    ledger: &'a Mutex<Ledger>,
}

impl Request<'_> {
    async fn send(&self) -> Result<Sent, String> {
        let spec = PRODUCERS[self.who];
        let mut query = "key_field=k".to_owned();
        if let Some(partition) = spec.partition {
            query.push_str(&format!("&partition={partition}"));
        }
        if let Some(name) = spec.name {
            // Sequences begin with 1.
            query.push_str(&format!("&producer={name}&first_sequence={}", self.first + 1));
        }
        let lines = (self.first..self.first + self.count).map(|n| line(self.who, n) + "\n");
        let body = Full::new(Bytes::from(lines.collect::<String>()));
        self.note(|ledger| ledger.sent(self.who, self.first, self.count))?;
        let answer = tokio::time::timeout(PATIENCE, self.client.append(spec.topic, &query, body));
        let mut answer = match answer.await.map_err(|_| self.late())? {
            Ok(answer) => answer,
            Err(error) => return self.failed(&error),
        };
        let mut through = 0;
        loop {
            let receipt = tokio::time::timeout(PATIENCE, answer.next()).await;
            match receipt.map_err(|_| self.late())? {
                Ok(Some(line)) if line.starts_with(b"{\"done\"") => break,
                Ok(Some(line)) => through = self.receipt(through, &line)?,
                Ok(None) => return Ok(Sent::Broken),
                Err(error) => return self.failed(&error),
            }
        }
        if through == self.count {
            return Ok(Sent::All);
        }
        Err(format!("producer {}: done after {through} of {} lines", self.who, self.count))
    }

    /// Takes a receipt. Returns the number of lines that are settled.
    fn receipt(&self, through: u64, line: &[u8]) -> Result<u64, String> {
        let receipt: ReceiptLine = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let count = receipt.through_line - through;
        let written: u64 = receipt.written.iter().map(|span| span.count).sum();
        if written + receipt.duplicates != count {
            let text = format!("a receipt that does not add up: {receipt:?} behind {through}");
            return Err(format!("producer {}: {text}", self.who));
        }
        let at = match receipt.written.as_slice() {
            [span] if receipt.duplicates == 0 => span.first.parse::<Coordinates>().ok(),
            _ => None,
        };
        let acked = Acked { first: self.first + through, count, at };
        self.note(|ledger| ledger.acked(self.who, acked, receipt.duplicates))?;
        Ok(receipt.through_line)
    }

    fn note(&self, note: impl FnOnce(&mut Ledger) -> std::io::Result<()>) -> Result<(), String> {
        let mut ledger = self.ledger.lock().map_err(|error| error.to_string())?;
        note(&mut ledger).map_err(|error| format!("the ledger can't be written: {error}"))
    }

    fn failed(&self, error: &ClientError) -> Result<Sent, String> {
        let full = |code| matches!(code, ErrorCode::LaneFull | ErrorCode::DiskFull);
        match error {
            _ if error.may_pass() => Ok(Sent::Broken),
            ClientError::Refused(refused) if full(refused.code) => Ok(Sent::Broken),
            _ => Err(format!("producer {}: {error}", self.who)),
        }
    }

    fn late(&self) -> String {
        format!("producer {}: no receipt within {} s", self.who, PATIENCE.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_from_its_numbers_and_tells_them() {
        assert_eq!(line(3, 77), line(3, 77));
        assert_ne!(line(3, 77), line(3, 78));
        assert_eq!(told(line(3, 77).as_bytes()), Some((3, 77)));
        let field: Value = serde_json::from_str(&line(3, 77)).unwrap();
        assert_eq!(field["k"].to_string(), key(3, 77));
    }
}
