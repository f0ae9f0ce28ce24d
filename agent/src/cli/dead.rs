//! `landfall dead`: what consumers, views and rules could not deal with.

use std::collections::BTreeMap;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{Client, DEAD_HEADERS, DEAD_SUFFIX, FORM_LEFT_OUT, FORM_TOMBSTONE};
use crate::coordinates::{Coordinates, check_topic};

pub(super) const HELP: &str = "\
Show what consumers, views and rules could not deal with, and say what becomes of it

Usage: landfall dead --data DIR list TOPIC [--json]
       landfall dead --data DIR show LETTER
       landfall dead --data DIR retry LETTER…
       landfall dead --data DIR drop LETTER…
       landfall dead --data DIR retry|drop --all TOPIC

A letter is a record that a consumer, a view or a rule set aside in TOPIC.dead, with its error; it
is named by the consumer, or view/ and the view, and the record's coordinates, as list shows. retry
appends the record to its topic again, as a new one, for all who take that in. Both settle the
letter, whoever does so at the same time.

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --all            Deal with all letters of a topic
  --json           Print a letter a line for machines
  --help           Show this
";

/// Options of `landfall dead`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to do.
    pub action: DeadAction,
    /// Whether machines read it.
    pub json: bool,
}

/// What to do with dead letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeadAction {
    /// Show those of a topic.
    List(String),
    /// Show one.
    Show(String),
    /// Append their records again.
    Retry(Which),
    /// Forget them.
    Drop(Which),
}

/// Which letters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Which {
    /// These.
    Named(Vec<String>),
    /// All of a topic.
    All(String),
}

impl DeadOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json, mut all) = (Vec::new(), false, false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--all" => all = true,
                Word::Plain(text) => words.push(text),
                Word::Option(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let (verb, rest) = match words.split_first() {
            Some((verb, rest)) if !rest.is_empty() => (verb.as_str(), rest.to_vec()),
            _ => {
                return Err(arguments.wrong("say `list TOPIC`, or `show`, `retry`, `drop`").into());
            }
        };
        let one = || rest.first().filter(|_| rest.len() == 1 && !all).cloned();
        let which = || match (all, rest.as_slice()) {
            (true, [topic]) => Some(Which::All(topic.clone())),
            (true, _) => None,
            (false, letters) => Some(Which::Named(letters.to_vec())),
        };
        let action = match verb {
            "list" => one().map(DeadAction::List),
            "show" => one().map(DeadAction::Show),
            "retry" => which().map(DeadAction::Retry),
            "drop" => which().map(DeadAction::Drop),
            _ => None,
        };
        let action = action.filter(|action| !json || matches!(action, DeadAction::List(_)));
        let wrong = "say `list TOPIC`, `show LETTER`, `retry LETTER` or `drop LETTER`";
        let action = action.ok_or_else(|| arguments.wrong(wrong))?;
        Ok(Command::Dead(Self { node: arguments.data()?, action, json }))
    }
}

/// A letter as it is read.
#[derive(Deserialize)]
struct Letter {
    origin: String,
    partition: u32,
    offset: u64,
    seq: u64,
    timestamp: String,
    key: Option<String>,
    value: Box<RawValue>,
    form: Option<String>,
    headers: Vec<Named>,
    #[serde(skip)]
    line: String,
}

#[derive(Clone, Deserialize)]
struct Named {
    name: String,
    value: Option<Value>,
}

impl Letter {
    /// What a header says that the letter has besides its record's.
    fn told(&self, name: &str) -> Option<&Value> {
        let name = format!("{DEAD_HEADERS}{name}");
        self.headers.iter().find(|header| header.name == name)?.value.as_ref()
    }

    fn text(&self, name: &str) -> String {
        let bytes = |value: &Value| STANDARD.decode(value["base64"].as_str()?).ok();
        match self.told(name) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => String::from_utf8_lossy(&bytes(value).unwrap_or_default()).into_owned(),
            None => String::new(),
        }
    }

    fn is_tombstone(&self) -> bool {
        self.form.as_deref() == Some("tombstone")
    }

    /// The record that it is about, as a group takes it.
    fn record(&self, topic: &str) -> Value {
        let mut record = json!({ "topic": topic });
        let mut set = |name: &str, value: Value| record[name] = value;
        if let Some(key) = self.told("key") {
            set("key", key.clone());
        }
        let headers = self.headers.iter().filter(|one| !one.name.starts_with(DEAD_HEADERS));
        let headers: Vec<_> =
            headers.map(|one| json!({"name": one.name, "value": one.value})).collect();
        set("headers", Value::Array(headers));
        if let Ok(ms) = self.text("timestamp").parse::<i64>() {
            set("timestamp", ms.into());
        }
        match (self.text("form").as_str(), &self.form) {
            (FORM_TOMBSTONE, _) => set("form", "tombstone".into()),
            (_, Some(form)) => set("form", form.as_str().into()),
            _ => {}
        }
        record
    }

    /// The group that settles it, with its record or without.
    fn settled(&self, topic: &str, retry: bool) -> Vec<u8> {
        let dead = format!("{topic}{DEAD_SUFFIX}");
        let place = json!({"topic": dead, "partition": self.partition, "key": self.key});
        let (mut end, mut last) = (place.clone(), place);
        end["form"] = "tombstone".into();
        last["offset"] = self.offset.into();
        let mut records = end.to_string();
        if retry {
            let record = self.record(topic);
            let has_value = record["form"] != "tombstone";
            let mut text = record.to_string();
            if has_value {
                // Its bytes are kept, which a number would lose that was read and written.
                text.pop();
                text.push_str(&format!(",\"value\":{}}}", self.value.get()));
            }
            records = format!("{text},{records}");
        }
        format!("{{\"records\":[{records}],\"if_last\":[{last}]}}").into_bytes()
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// As the node says, there is no such letter, or `out` fails.
pub async fn run(
    options: &DeadOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    match &options.action {
        DeadAction::List(topic) => {
            let letters = letters(client, topic).await?;
            print_text(out, &listed(topic, &letters, options.json))
        }
        DeadAction::Show(name) => {
            let topic = topic_of(name)?;
            let letters = letters(client, &topic).await?;
            let letter = letters.get(name).ok_or_else(|| unknown(name))?;
            print_text(out, &format!("{}\n", letter.line))
        }
        DeadAction::Retry(which) => settle(client, which, true, out).await,
        DeadAction::Drop(which) => settle(client, which, false, out).await,
    }
}

async fn settle(
    client: &Client,
    which: &Which,
    retry: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    match which {
        Which::All(topic) => {
            let names = letters(client, topic).await?.into_keys().collect();
            wanted.insert(topic.clone(), names);
        }
        Which::Named(names) => {
            for name in names {
                wanted.entry(topic_of(name)?).or_default().push(name.clone());
            }
        }
    }
    let site = client.status().await?.site;
    let done = if retry { "appended again" } else { "dropped" };
    for (topic, names) in wanted {
        let letters = letters(client, &topic).await?;
        for name in names {
            let letter = letters.get(&name).ok_or_else(|| unknown(&name))?;
            if letter.origin != site {
                let text = format!("landfall dead: {name} was written at {}", letter.origin);
                return Err(Failure::refused(format!("{text}; deal with it there")));
            }
            if retry && letter.text("form") == FORM_LEFT_OUT {
                let text = format!("landfall dead: {name} has no room for its record");
                let at = letter.text("record");
                return Err(Failure::refused(format!("{text}; read it at {at}, then drop it")));
            }
            client.group(letter.settled(&topic, retry), None).await?;
            print_text(out, &format!("{name} {done}\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// The letters of a topic that are not settled, by name.
async fn letters(client: &Client, topic: &str) -> Result<BTreeMap<String, Letter>, Failure> {
    let mut found = BTreeMap::new();
    let mut lines = client.read(&format!("{topic}{DEAD_SUFFIX}"), "").await?;
    while let Some(line) = lines.next().await? {
        if line.starts_with(b"{\"end\":") || line.starts_with(b"{\"gap\":") {
            continue;
        }
        let letter: Option<Letter> = serde_json::from_slice(&line).ok();
        let Some((name, letter)) = letter.and_then(|one| Some((one.key.clone()?, one))) else {
            // Whatever it is, it is no letter.
            continue;
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        match letter.is_tombstone() {
            true => drop(found.remove(&name)),
            false => drop(found.insert(name, Letter { line, ..letter })),
        }
    }
    Ok(found)
}

fn listed(topic: &str, letters: &BTreeMap<String, Letter>, json: bool) -> String {
    let mut order: Vec<_> = letters.iter().collect();
    order.sort_by_key(|(_, letter)| letter.seq);
    if json {
        return order.iter().map(|(_, letter)| format!("{}\n", letter.line)).collect();
    }
    if order.is_empty() {
        return format!("there are no dead letters of {topic}\n");
    }
    let mut table = Table::new(&["letter", "since", "error"]);
    for (name, letter) in order {
        let error = letter.text("error").replace(['\n', '\r'], " ");
        table.row([name.clone(), letter.timestamp.clone(), error]);
    }
    table.text()
}

/// The topic that a letter is about, as its name tells.
fn topic_of(name: &str) -> Result<String, Failure> {
    let parsed = name.split_once(':').and_then(|(_, rest)| rest.parse::<Coordinates>().ok());
    let topic = parsed.map(|coordinates| coordinates.stream.topic);
    topic.filter(|topic| check_topic(topic).is_ok()).ok_or_else(|| {
        let text = format!("landfall dead: `{name}` is no letter");
        Failure::usage(format!("{text}; `landfall dead list TOPIC` shows their names"))
    })
}

fn unknown(name: &str) -> Failure {
    let text = format!("landfall dead: there is no letter {name}, or it is settled");
    Failure::refused(format!("{text}; `landfall dead list TOPIC` shows those that are there"))
}
