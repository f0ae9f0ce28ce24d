//! A record that `landfall on` is given, and the one that answers it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::program::{Answer, Given};
use crate::cli::read::value_of;
use crate::time_text;

/// A record as it is given.
#[derive(Deserialize)]
pub(in crate::cli) struct Record {
    topic: String,
    origin: String,
    epoch: String,
    partition: u32,
    offset: u64,
    timestamp: String,
    key: Option<Value>,
    form: Option<String>,
    headers: Vec<Header>,
    #[serde(skip)]
    line: String,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: Option<Value>,
}

impl Record {
    pub(in crate::cli) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        let read: Self = serde_json::from_slice(line)?;
        let line = String::from_utf8_lossy(line).into_owned();
        Ok(Self { line, ..read })
    }

    /// It, as it was read.
    pub(in crate::cli) fn line(&self) -> &str {
        &self.line
    }

    pub(super) fn coordinates(&self) -> String {
        let Self { origin, topic, partition, offset, epoch, .. } = self;
        format!("{origin}/{topic}/{partition}@{offset}~{}", epoch.trim_start_matches('0'))
    }

    /// The text of the last header of a name.
    pub(in crate::cli) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().rfind(|header| header.name == name)?;
        header.value.as_ref()?.as_str()
    }

    /// Why it is too late to deal with it at a time, in milliseconds since 1970, if it is.
    pub(super) fn late(&self, now_ms: i64) -> Option<String> {
        let text = self.header(DEADLINE)?;
        match text.parse().ok().or_else(|| time_text::parse(text)) {
            Some(until) if now_ms <= until => None,
            Some(until) => Some(format!("its deadline, {}, has passed", time_text::format(until))),
            None => Some(format!("its deadline, `{text}`, is no time")),
        }
    }

    pub(super) fn given(&self) -> Result<Given, String> {
        let header = |header: &Header| json!({"name": header.name, "value": header.value});
        let headers = Value::from_iter(self.headers.iter().map(header));
        let text = |name: &str, value: &str| (format!("RECORD_{name}"), value.to_owned());
        let mut variables = vec![
            text("TOPIC", &self.topic),
            text("COORDINATES", &self.coordinates()),
            text("TIMESTAMP", &self.timestamp),
            text("FORM", self.form.as_deref().unwrap_or("json")),
            text("HEADERS", &headers.to_string()),
        ];
        variables.extend(self.key.as_ref().and_then(Value::as_str).map(|key| text("KEY", key)));
        let input = value_of(self.line.as_bytes())?.unwrap_or_default();
        Ok(Given { input, variables })
    }
}

/// The header that says until when a record is to be dealt with.
pub(in crate::cli) const DEADLINE: &str = "deadline";
/// The header of a reply that names what it replies to.
const REPLY_TO: &str = "reply-to";
/// The header of a reply that says why there is none.
pub(in crate::cli) const ERROR: &str = "error";
/// A header that is handed from a record to its reply.
pub(in crate::cli) const CORRELATION: &str = "correlation";

/// What became of a record.
pub(super) enum Dealt {
    Done(Answer),
    /// It is set aside, for this reason.
    Failed(String),
}

/// The record that answers another one.
pub(super) fn reply(topic: &str, record: &Record, dealt: &Dealt) -> String {
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut headers = vec![header(REPLY_TO, &record.coordinates())];
    headers.extend(record.header(CORRELATION).map(|value| header(CORRELATION, value)));
    let (form, value) = match dealt {
        Dealt::Done(answer) => answer.value(),
        Dealt::Failed(why) => {
            headers.push(header(ERROR, why));
            (None, "null".to_owned())
        }
    };
    let mut reply = json!({"topic": topic, "headers": headers});
    if let Some(key) = &record.key {
        reply["key"] = key.clone();
    }
    if let Some(form) = form {
        reply["form"] = form.into();
    }
    let mut text = reply.to_string();
    text.pop();
    format!("{text},\"value\":{value}}}")
}
