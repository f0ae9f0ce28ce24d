//! `landfall on`: a program for each record of a topic, as a durable consumer.
//!
//! The record is committed when the program has dealt with it, in one group with what the program
//! answered, or set aside as a dead letter. Whatever is killed when, it is given again otherwise.

mod program;
pub(super) mod record;

use std::io::Write;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{Arguments, Stop, Word};
use super::read::{RECONNECT_AFTER, RECONNECT_AFTER_MAX};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{Client, ClientError, ErrorCode, FetchEnd, encoded};
use crate::coordinates::{Position, check_topic};
use crate::{clock, entropy};
use program::Program;
use record::{Dealt, Record, reply};

pub(super) const HELP: &str = "\
Run a program for each record of a topic, through crashes of either

Usage: landfall on --data DIR TOPIC [OPTION…] -- PROGRAM [ARG…]

PROGRAM gets the record's value as its standard input; RECORD_TOPIC, RECORD_KEY,
RECORD_TIMESTAMP, RECORD_COORDINATES, RECORD_FORM (json, text, bytes or tombstone), RECORD_HEADERS
and RECORD_ATTEMPT in its environment tell the rest. When it ends with 0, the record is dealt with,
and the next one of its key comes. Else it is run again after a pause; after some attempts the
record is set aside as a dead letter (`landfall dead`). It is run again, too, if this command was
killed before the record was committed. Commands of the same consumer share the work by key.

A record with a header `deadline` (a time, or milliseconds since 1970) that has passed is set
aside without running PROGRAM.

Options:
  --data DIR         The node's directory; the node must run, or is waited for
  --config FILE      Its configuration; landfall.toml in the directory if left out
  --consumer NAME    Under which name the node keeps what is dealt with; on-TOPIC if left out
  --member NAME      The name of this one among those that share the work; drawn if left out
  --from POSITION    Where a new consumer begins; `earliest` if left out
  --attempts N       How often PROGRAM is run for a record, at most; 5 if left out
  --pause TIME       How long to wait before the second attempt, such as 5s; 1s if left out. Each
                     further one waits twice as long, a minute at most
  --timeout TIME     How long PROGRAM may take before it is killed; 10m if left out
  --reply TOPIC      Append what PROGRAM prints as a record to TOPIC, once, with the record's key
                     and a header `reply-to` with its coordinates; if the record was set aside,
                     `null` with a header `error`
  --max N            End after so many records
  --help             Show this
";

/// Options of `landfall on`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OnOptions {
    /// Which node.
    pub node: DataOptions,
    /// What is taken in.
    pub topic: String,
    /// Under which name.
    pub consumer: String,
    /// The name among those that share the work; drawn if there is none.
    pub member: Option<String>,
    /// Where a new consumer begins.
    pub from: String,
    /// How often the program is run for a record at most.
    pub attempts: u32,
    /// How long to wait before the second attempt.
    pub pause: Duration,
    /// How long the program may take.
    pub timeout: Duration,
    /// Where what it prints goes.
    pub reply: Option<String>,
    /// Records after which it ends.
    pub max: Option<u64>,
    /// The program and its arguments.
    pub program: Vec<String>,
}

impl OnOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut consumer, mut member, mut reply) = (Vec::new(), None, None, None);
        let (mut from, mut attempts, mut max) = (Position::Earliest, 5, None);
        let (mut pause_ms, mut timeout_ms) = (1_000, 600_000);
        while let Some(word) = arguments.next()? {
            let name = match word {
                Word::Plain(text) => {
                    words.push(text);
                    continue;
                }
                Word::Option(name) => name,
            };
            match name.as_str() {
                "--consumer" => consumer = Some(arguments.value(&name)?),
                "--member" => member = Some(arguments.value(&name)?),
                "--from" => from = arguments.parsed::<Position>(&name)?,
                "--attempts" => attempts = arguments.parsed::<u32>(&name)?,
                "--pause" => pause_ms = arguments.ms(&name)?,
                "--timeout" => timeout_ms = arguments.ms(&name)?,
                "--reply" => reply = Some(arguments.value(&name)?),
                "--max" => max = Some(arguments.parsed::<u64>(&name)?),
                _ => return Err(arguments.unknown(&Word::Option(name)).into()),
            }
        }
        let (topic, program) = match words.split_first() {
            Some((topic, program)) if !program.is_empty() => (topic.clone(), program.to_vec()),
            _ => {
                let text = "say which topic, and behind `--` the program: `on TOPIC -- PROGRAM`";
                return Err(arguments.wrong(text).into());
            }
        };
        for topic in reply.iter().chain([&topic]) {
            check_topic(topic).map_err(|error| arguments.wrong(error.to_string()))?;
        }
        if attempts == 0 {
            return Err(arguments.wrong("`--attempts` is at least 1").into());
        }
        let consumer = consumer.unwrap_or_else(|| format!("on-{topic}"));
        let (pause, timeout) = (Duration::from_millis(pause_ms), Duration::from_millis(timeout_ms));
        let (node, from) = (arguments.data()?, from.to_string());
        Ok(Command::On(Self {
            node,
            topic,
            consumer,
            member,
            from,
            attempts,
            pause,
            timeout,
            reply,
            max,
            program,
        }))
    }
}

/// How long this counts as alive without a word of it, and how often it says that it lives.
const LEASE_MS: u64 = 5_000;
const RENEW_AFTER: Duration = Duration::from_millis(1_500);
/// How long the node waits for a record before it says that there is none.
const WAIT_MS: u64 = 30_000;
/// The longest pause before another attempt.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a commit is refused that is tried again: the record is not this member's any more, and is
/// given to a member again, or there is no room until the link or a person makes some.
const MAY_PASS: [ErrorCode; 3] = [ErrorCode::Conflict, ErrorCode::LaneFull, ErrorCode::DiskFull];

/// Runs the program for each record, until there were so many, or for ever.
///
/// # Errors
/// The node refuses, or was never there.
pub async fn run(
    options: &OnOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let member = match &options.member {
        Some(name) => name.clone(),
        None => {
            let number = entropy::number();
            let number = number.map_err(|error| Failure::refused(error.to_string()))?;
            format!("on-{number:016x}")
        }
    };
    let on = On { options, client, member };
    on.make().await?;
    let (mut left, mut pause, mut anew) = (options.max, RECONNECT_AFTER, true);
    // What was dealt with and could not be committed, as the node was away.
    let mut dealt: Option<(String, Dealt)> = None;
    while left != Some(0) {
        let outcome = on.next(anew, &mut dealt, out).await;
        anew = outcome.is_err();
        match outcome {
            Ok(count) => {
                left = left.map(|left| left.saturating_sub(count));
                pause = RECONNECT_AFTER;
            }
            Err(error) if error.may_pass() || has_code(&error, &MAY_PASS) => {
                eprintln!("landfall on: {error}; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RECONNECT_AFTER_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
    // If nobody hears it, its lease ends soon.
    let _ = on.ask("leave", json!({"member": on.member})).await;
    Ok(Exit::Done)
}

fn has_code(error: &ClientError, codes: &[ErrorCode]) -> bool {
    matches!(error, ClientError::Refused(error) if codes.contains(&error.code))
}

/// A member of the consumer.
struct On<'o> {
    options: &'o OnOptions,
    client: &'o Client,
    member: String,
}

impl On<'_> {
    async fn make(&self) -> Result<(), ClientError> {
        let OnOptions { consumer, topic, from, .. } = self.options;
        let body = json!({"consumer": consumer, "topics": [topic], "from": from});
        self.client.admin(Method::POST, "/v1/consumers", Some(&body)).await.map(drop)
    }

    async fn ask(&self, what: &str, body: Value) -> Result<(), ClientError> {
        let path = format!("/v1/consumers/{}/{what}", encoded(&self.options.consumer));
        self.client.admin(Method::POST, &path, Some(&body)).await.map(drop)
    }

    /// Deals with the next record, if one comes, and commits it. Returns how many it were.
    async fn next(
        &self,
        anew: bool,
        dealt: &mut Option<(String, Dealt)>,
        out: &mut impl Write,
    ) -> Result<u64, ClientError> {
        let (record, cursor) = self.fetch(1, WAIT_MS, anew).await?;
        let Some(cursor) = cursor else { return Ok(0) };
        let Some(record) = record else {
            self.ask("commit", json!({"member": self.member, "cursor": cursor})).await?;
            return Ok(0);
        };
        let name = record.coordinates();
        // What was dealt with already is only committed.
        let known = dealt.take().filter(|(known, _)| *known == name);
        let what = match known {
            Some((_, what)) => what,
            None => self.deal_with(&record).await,
        };
        let (_, what) = dealt.insert((name.clone(), what));
        self.commit(&record, &cursor, what).await?;
        if let Dealt::Failed(why) = what {
            eprintln!("landfall on: {name} was set aside: {why}");
        }
        if let (Dealt::Done(answer), None) = (what, &self.options.reply) {
            // Who reads it may be gone; the record is dealt with.
            let _ = out.write_all(&answer.printed).and_then(|()| out.flush());
        }
        *dealt = None;
        Ok(1)
    }

    /// Commits a record with what became of it. What leaves no room for its reply is set aside.
    async fn commit(
        &self,
        record: &Record,
        cursor: &str,
        what: &mut Dealt,
    ) -> Result<(), ClientError> {
        let mut replies = self.options.reply.is_some();
        loop {
            let done = match self.group(record, cursor, (what, replies)) {
                Some(group) => self.client.group(group, None).await.map(drop),
                None => self.ask("commit", json!({"member": self.member, "cursor": cursor})).await,
            };
            match done {
                Err(error) if replies && has_code(&error, &[ErrorCode::TooLarge]) => {
                    replies = matches!(what, Dealt::Done(_));
                    *what = Dealt::Failed(format!("its reply was refused: {error}"));
                }
                done => return done,
            }
        }
    }

    /// What this member is given next, and what to commit behind it.
    async fn fetch(
        &self,
        max: u64,
        wait_ms: u64,
        anew: bool,
    ) -> Result<(Option<Record>, Option<String>), ClientError> {
        let body = json!({
            "member": self.member, "max": max, "wait_max_ms": wait_ms, "lease_ms": LEASE_MS,
            "anew": anew,
        });
        let mut lines = self.client.fetch(&self.options.consumer, &body).await?;
        let (mut record, mut cursor) = (None, None);
        let unknown = |error: serde_json::Error| ClientError::NotUnderstood(error.to_string());
        while let Some(line) = lines.next().await? {
            if line.starts_with(b"{\"end\":") {
                let End { end } = serde_json::from_slice(&line).map_err(unknown)?;
                cursor = end.cursor;
            } else if line.starts_with(b"{\"gap\":") {
                let gap = String::from_utf8_lossy(&line);
                eprintln!("landfall on: records are missing: {gap}");
            } else {
                record = Some(Record::read(&line).map_err(unknown)?);
            }
        }
        Ok((record, cursor))
    }

    /// Runs the program until it has dealt with the record, or there is no more to be tried.
    async fn deal_with(&self, record: &Record) -> Dealt {
        let given = match record.given() {
            Ok(given) => given,
            Err(why) => return Dealt::Failed(why),
        };
        let OnOptions { attempts, timeout, reply, program, node, .. } = self.options;
        let program = Program { words: program, data: &node.data, timeout: *timeout };
        let mut pause = self.options.pause;
        let mut why = String::new();
        for attempt in 1..=*attempts {
            if let Some(late) = record.late(clock::wall().ms()) {
                return Dealt::Failed(if why.is_empty() { late } else { format!("{late}; {why}") });
            }
            let most = reply.as_ref().map(|_| program::REPLY_BYTES_MAX);
            let ran = self.alive(program.run(&given, attempt, most)).await;
            why = match ran {
                Ok(answer) => return Dealt::Done(answer),
                Err(why) => why,
            };
            if attempt < *attempts {
                eprintln!("landfall on: {}: {why}; trying again", record.coordinates());
                self.alive(tokio::time::sleep(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        Dealt::Failed(format!("{why} (after {attempts} attempts)"))
    }

    /// Says that this member lives while something takes its time.
    async fn alive<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(RENEW_AFTER, &mut work).await {
                return done;
            }
            // While the node is away there is nobody to tell; what was dealt with is committed
            // when it is back.
            let _ = self.fetch(0, 0, false).await;
        }
    }

    /// The group that commits a record with what becomes of it, if that is written.
    fn group(
        &self,
        record: &Record,
        cursor: &str,
        (dealt, replies): (&Dealt, bool),
    ) -> Option<Vec<u8>> {
        let topic = self.options.reply.as_ref().filter(|_| replies);
        let reply = topic.map(|topic| reply(topic, record, dealt));
        let dead = match dealt {
            Dealt::Done(_) if reply.is_none() => return None,
            Dealt::Done(_) => String::new(),
            Dealt::Failed(why) => {
                let error = Value::from(why.as_str());
                let consumer = Value::from(self.options.consumer.as_str());
                let line = record.line();
                format!("{{\"consumer\":{consumer},\"error\":{error},\"record\":{line}}}")
            }
        };
        let OnOptions { consumer, .. } = self.options;
        let commit = json!({"consumer": consumer, "member": self.member, "cursor": cursor});
        let records = reply.unwrap_or_default();
        let text = format!("{{\"records\":[{records}],\"dead\":[{dead}],\"commits\":[{commit}]}}");
        Some(text.into_bytes())
    }
}

#[derive(Deserialize)]
struct End {
    end: FetchEnd,
}
