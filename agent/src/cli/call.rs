//! `landfall call`: a command, and the reply that `landfall on --reply` gives to it on some node.
//!
//! The command has a name of its own in its header `correlation`, which its reply has, too. It is
//! given once under that name, whatever breaks, so that who was cut off asks again.

use std::cell::Cell;
use std::io::{Read, Write};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::arguments::{Arguments, Stop, Word};
use super::group::is_json;
use super::on::record::{CORRELATION, DEADLINE, ERROR, Record};
use super::read::{RECONNECT_AFTER, RECONNECT_AFTER_MAX, value_of};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::limits::{GROUP_BODY_BYTES_MAX, IDEMPOTENCY_KEY_MAX};
use crate::api::{Client, ClientError, ReadEnd};
use crate::coordinates::check_topic;
use crate::entropy::NoEntropy;
use crate::quantity::duration_text;
use crate::{clock, entropy};

pub(super) const HELP: &str = "\
Give a command, and wait for its reply

Usage: landfall call --data DIR TOPIC [VALUE|-] --reply TOPIC [OPTION…]

Appends VALUE, which is JSON, or standard input to TOPIC, where `landfall on TOPIC --reply TOPIC`
obeys it: here, or on a device to which TOPIC comes down, which may be offline for now. Prints the
value of the reply as it comes to this node.

Options:
  --data DIR        The node's directory; the node must run
  --config FILE     Its configuration; landfall.toml in the directory if left out
  --reply TOPIC     Where the replies are
  --key KEY         The command's key; commands of one key are obeyed in their order
  --deadline TIME   When this has passed, such as 1h, the command is not obeyed any more
  --wait TIME       How long to wait for the reply, such as 10s or 2h; 1m if left out
  --id NAME         The command's name; drawn if left out. With the name of an earlier call the
                    command is not given again: this waits on for its reply
  --help            Show this

Exit codes: 0 it was obeyed, 1 it was set aside, 2 wrong usage, 3 refused, or no reply in time.
";

/// How long a reply is waited for.
const WAIT: Duration = Duration::from_secs(60);
/// What stands before a command's name in its idempotency key.
const KEY: &str = "call:";

/// Options of `landfall call`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallOptions {
    /// Which node.
    pub node: DataOptions,
    /// Where commands are obeyed.
    pub topic: String,
    /// The command, in JSON; standard input if none.
    pub value: Option<String>,
    /// Where the replies are.
    pub reply: String,
    /// The command's key.
    pub key: Option<String>,
    /// After how long it is not obeyed any more.
    pub deadline: Option<Duration>,
    /// How long to wait.
    pub wait: Duration,
    /// The command's name; drawn if none.
    pub id: Option<String>,
}

impl CallOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut topic, mut value, mut reply) = (None, None, None);
        let (mut key, mut deadline, mut id, mut wait) = (None, None, None, WAIT);
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) => match name.as_str() {
                    "--reply" => reply = Some(arguments.value(name)?),
                    "--key" => key = Some(arguments.value(name)?),
                    "--deadline" => deadline = Some(Duration::from_millis(arguments.ms(name)?)),
                    "--wait" => wait = Duration::from_millis(arguments.ms(name)?),
                    "--id" => id = Some(name_of_call(arguments, name)?),
                    _ => return Err(arguments.unknown(&word).into()),
                },
                Word::Plain(text) if topic.is_none() => topic = Some(text.clone()),
                Word::Plain(text) if value.is_none() => value = Some(text.clone()),
                Word::Plain(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let topic = topic.ok_or_else(|| arguments.wrong("which topic?"))?;
        let reply = reply.ok_or_else(|| {
            arguments.wrong("where is the reply? Give the topic that `landfall on --reply` writes")
        })?;
        for topic in [&topic, &reply] {
            check_topic(topic).map_err(|error| arguments.wrong(error.to_string()))?;
        }
        let value = value.filter(|value| value != "-");
        if value.as_ref().is_some_and(|value| !is_json(value.as_bytes())) {
            return Err(arguments.wrong("the command is not JSON; text stands in `\"…\"`").into());
        }
        let node = arguments.data()?;
        Ok(Command::Call(Self { node, topic, value, reply, key, deadline, wait, id }))
    }
}

fn name_of_call(arguments: &mut Arguments<'_>, option: &str) -> Result<String, Stop> {
    let text = arguments.value(option)?;
    let most = IDEMPOTENCY_KEY_MAX - KEY.len();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && (1..=most).contains(&text.len()) {
        return Ok(text);
    }
    let wrong = format!("`{option}` takes 1 to {most} letters without blanks");
    Err(arguments.wrong(wrong).into())
}

/// Gives the command, and writes the value of its reply to `out`.
///
/// # Errors
/// The node refuses, or there is no reply in time. The message says how to go on.
pub async fn run(
    options: &CallOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let value = match &options.value {
        Some(value) => value.clone(),
        None => read_value()?,
    };
    let id = match &options.id {
        Some(id) => id.clone(),
        None => drawn_id().map_err(|error| Failure::refused(error.to_string()))?,
    };
    let call = Call { options, client, id: &id, given: Cell::new(false) };
    let in_time = tokio::time::timeout(options.wait, call.reply(&value)).await;
    let Ok(replied) = in_time else { return Err(call.late()) };
    let (reply, line) = replied.map_err(|error| call.failed(&error))?;
    if let Some(why) = reply.header(ERROR) {
        let message = format!("landfall call: the command was set aside: {why}");
        return Err(Failure { exit: Exit::FailedCheck, message });
    }
    let value = value_of(&line).map_err(Failure::refused)?.unwrap_or_default();
    let printed = out.write_all(&value).and_then(|()| out.write_all(b"\n"));
    let printed = printed.and_then(|()| out.flush());
    printed.map_err(|error| Failure::refused(format!("cannot print the reply: {error}")))?;
    Ok(Exit::Done)
}

fn drawn_id() -> Result<String, NoEntropy> {
    Ok(format!("{:016x}{:016x}", entropy::number()?, entropy::number()?))
}

fn read_value() -> Result<String, Failure> {
    let mut text = String::new();
    let most = GROUP_BODY_BYTES_MAX as u64;
    let read = std::io::stdin().take(most).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("landfall call: standard input: {error}")))?;
    if is_json(text.as_bytes()) {
        Ok(text)
    } else {
        Err(Failure::usage("landfall call: standard input is not JSON"))
    }
}

/// A command on its way.
struct Call<'c> {
    options: &'c CallOptions,
    client: &'c Client,
    id: &'c str,
    /// Whether it was written.
    given: Cell<bool>,
}

impl Call<'_> {
    /// Gives the command, and waits for its reply.
    async fn reply(&self, value: &str) -> Result<(Record, Vec<u8>), ClientError> {
        // What was given before may have its reply already.
        let mut after = match self.options.id {
            Some(_) => None,
            None => Some(again(async || self.end_of_replies().await).await?),
        };
        let body = self.body(value);
        let key = format!("{KEY}{}", self.id);
        again(async || self.client.group(body.clone(), Some(&key)).await).await?;
        self.given.set(true);
        let mut pause = RECONNECT_AFTER;
        loop {
            match self.next_reply(&mut after).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) if error.may_pass() => {
                    eprintln!("landfall call: {error}; trying again");
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_AFTER_MAX);
        }
    }

    /// Follows the replies until this command's comes; none if the node ends its answer.
    async fn next_reply(
        &self,
        after: &mut Option<String>,
    ) -> Result<Option<(Record, Vec<u8>)>, ClientError> {
        let CallOptions { reply, .. } = self.options;
        let mut events = self.client.follow(reply, "", after.as_deref()).await?;
        while let Some(event) = events.next().await? {
            if event.kind.is_empty() {
                let record = Record::read(&event.data);
                let record = record.map_err(|error| not_understood(&error))?;
                if record.header(CORRELATION) == Some(self.id) {
                    return Ok(Some((record, event.data.to_vec())));
                }
            }
            *after = Some(event.id);
        }
        Ok(None)
    }

    /// Where the replies end that are there by now.
    async fn end_of_replies(&self) -> Result<String, ClientError> {
        let mut lines = self.client.read(&self.options.reply, "from=latest").await?;
        while let Some(line) = lines.next().await? {
            if line.starts_with(b"{\"end\":") {
                let End { end } =
                    serde_json::from_slice(&line).map_err(|error| not_understood(&error))?;
                return Ok(end.cursor);
            }
        }
        Err(ClientError::Broken("the answer ended early".into()))
    }

    /// The group that gives the command.
    fn body(&self, value: &str) -> Vec<u8> {
        let CallOptions { topic, key, deadline, .. } = self.options;
        let mut headers = vec![json!({"name": CORRELATION, "value": self.id})];
        headers.extend(deadline.map(|after| {
            let at = clock::wall().ms().saturating_add_unsigned(after.as_millis() as u64);
            json!({"name": DEADLINE, "value": at.to_string()})
        }));
        let mut record = json!({"topic": topic, "headers": headers});
        if let Some(key) = key {
            record["key"] = Value::from(key.as_str());
        }
        let mut record = record.to_string();
        record.pop();
        format!("{{\"records\":[{record},\"value\":{value}}}]}}").into_bytes()
    }

    fn late(&self) -> Failure {
        let CallOptions { topic, wait, .. } = self.options;
        let wait = duration_text(*wait);
        Failure::refused(match self.given.get() {
            true => format!(
                "landfall call: no reply within {wait}. The command is in {topic}; the same call \
                 with `--id {}` waits on for its reply, and does not give it again.",
                self.id
            ),
            false => format!("landfall call: the node did not take the command within {wait}"),
        })
    }

    fn failed(&self, error: &ClientError) -> Failure {
        Failure::refused(match self.given.get() {
            true => format!(
                "landfall call: {error}. The command was given; the same call with `--id {}` \
                 waits on for its reply.",
                self.id
            ),
            false => format!("landfall call: {error}"),
        })
    }
}

/// Asks until the node answers: it may be about to start again.
async fn again<T>(ask: impl AsyncFn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut pause = RECONNECT_AFTER;
    loop {
        match ask().await {
            Err(error) if error.may_pass() => eprintln!("landfall call: {error}; trying again"),
            done => return done,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_AFTER_MAX);
    }
}

fn not_understood(error: &serde_json::Error) -> ClientError {
    ClientError::NotUnderstood(error.to_string())
}

#[derive(Deserialize)]
struct End {
    end: ReadEnd,
}
