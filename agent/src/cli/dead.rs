//! `landfall dead`: what consumers, views and rules could not deal with.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::append::Query;
use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{
    Client, ClientError, DEAD_HEADERS, DEAD_SUFFIX, ErrorCode, FORM_LEFT_OUT, FORM_TOMBSTONE,
};
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
letter, whoever does so at the same time, and are for letters that this node wrote. With --all,
those of other sites are left alone, and told.

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

/// A record as it is read: a letter, or what one is about.
#[derive(Deserialize)]
struct Read {
    origin: String,
    epoch: String,
    partition: u32,
    offset: u64,
    seq: u64,
    timestamp: String,
    key: Option<Value>,
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

/// Letters that are not settled, by their name and the site that wrote them: what a record is
/// refused for at two sites has a letter of each.
type Letters = BTreeMap<(String, String), Read>;

impl Read {
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
        self.form.as_deref() == Some(FORM_TOMBSTONE)
    }

    /// The record that the letter is about, as a group takes it.
    fn about(&self, topic: &str) -> String {
        let form = match self.text("form").as_str() {
            FORM_TOMBSTONE => Some(FORM_TOMBSTONE.to_owned()),
            _ => self.form.clone(),
        };
        let timestamp = self.text("timestamp").parse::<i64>().ok().map(Value::from);
        self.again(topic, self.told("key"), timestamp, form)
    }

    /// This record, as a group takes it.
    fn itself(&self, topic: &str) -> String {
        self.again(topic, self.key.as_ref(), Some(self.timestamp.clone().into()), self.form.clone())
    }

    fn again(
        &self,
        topic: &str,
        key: Option<&Value>,
        timestamp: Option<Value>,
        form: Option<String>,
    ) -> String {
        let headers = self.headers.iter().filter(|one| !one.name.starts_with(DEAD_HEADERS));
        let headers: Vec<_> =
            headers.map(|one| json!({"name": one.name, "value": one.value})).collect();
        let mut record = json!({ "topic": topic, "headers": headers });
        let has_value = form.as_deref() != Some(FORM_TOMBSTONE);
        let form = form.map(Value::from);
        for (name, value) in [("key", key.cloned()), ("timestamp", timestamp), ("form", form)] {
            if let Some(value) = value {
                record[name] = value;
            }
        }
        let mut text = record.to_string();
        if has_value {
            // Its bytes are kept, which a number would lose that was read and written.
            text.pop();
            text.push_str(&format!(",\"value\":{}}}", self.value.get()));
        }
        text
    }

    /// The group that settles the letter, with its record or without.
    fn settled(&self, topic: &str, again: Option<String>) -> Vec<u8> {
        let dead = format!("{topic}{DEAD_SUFFIX}");
        let place = json!({"topic": dead, "partition": self.partition, "key": self.key});
        let (mut end, mut last) = (place.clone(), place);
        end["form"] = FORM_TOMBSTONE.into();
        last["offset"] = self.offset.into();
        let records: Vec<_> = again.into_iter().chain([end.to_string()]).collect();
        format!("{{\"records\":[{}],\"if_last\":[{last}]}}", records.join(",")).into_bytes()
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
            let same = letters.iter().filter(|((known, _), _)| known == name);
            let lines: String = same.map(|(_, letter)| format!("{}\n", letter.line)).collect();
            if lines.is_empty() { Err(unknown(name)) } else { print_text(out, &lines) }
        }
        DeadAction::Retry(Which::Named(names)) => settle(client, names, true, out).await,
        DeadAction::Drop(Which::Named(names)) => settle(client, names, false, out).await,
        DeadAction::Retry(Which::All(topic)) => settle_all(client, topic, true, out).await,
        DeadAction::Drop(Which::All(topic)) => settle_all(client, topic, false, out).await,
    }
}

/// Settles letters of this node, or none of them if one of the names is no such letter.
async fn settle(
    client: &Client,
    names: &[String],
    retry: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let site = client.status().await?.site;
    let mut topics: BTreeMap<String, Letters> = BTreeMap::new();
    for name in names {
        let topic = topic_of(name)?;
        if let Entry::Vacant(place) = topics.entry(topic.clone()) {
            place.insert(letters(client, &topic).await?);
        }
    }
    let mut chosen = Vec::new();
    for name in names {
        let topic = topic_of(name)?;
        let letters = topics.get_mut(&topic).ok_or_else(|| unknown(name))?;
        let letter = letters.remove(&(name.clone(), site.clone()));
        let elsewhere = letters.keys().find(|(known, _)| known == name);
        let letter = letter.ok_or_else(|| match elsewhere {
            Some((_, writer)) => {
                let text = format!("landfall dead: {name} was written at {writer}");
                Failure::refused(format!("{text}; deal with it there"))
            }
            None => unknown(name),
        })?;
        chosen.push((topic, name, letter));
    }
    for (topic, name, letter) in chosen {
        settle_one(client, (&topic, name), &letter, retry).await?;
        print_text(out, &format!("{name} {}\n", done(retry)))?;
    }
    Ok(Exit::Done)
}

/// Settles all letters of a topic that this node wrote, and tells of those that it did not.
async fn settle_all(
    client: &Client,
    topic: &str,
    retry: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let site = client.status().await?.site;
    let mut elsewhere: BTreeMap<String, u64> = BTreeMap::new();
    let mut kept = Vec::new();
    for ((name, writer), letter) in letters(client, topic).await? {
        if writer != site {
            *elsewhere.entry(writer).or_default() += 1;
            continue;
        }
        match settle_one(client, (topic, &name), &letter, retry).await {
            Ok(()) => drop(print_text(out, &format!("{name} {}\n", done(retry)))?),
            Err(Unsettled::Forgotten(failure)) => kept.push(failure),
            Err(Unsettled::Refused(failure)) => return Err(failure),
        }
    }
    for (writer, count) in elsewhere {
        let text = format!("{count} of the letters were written at {writer}; deal with them there");
        print_text(out, &format!("{text}\n"))?;
    }
    // The others are settled; that these are not is the end of it.
    kept.into_iter().next().map_or(Ok(Exit::Done), Err)
}

fn done(retry: bool) -> &'static str {
    if retry { "appended again" } else { "dropped" }
}

/// Why a letter is not settled.
enum Unsettled {
    /// It has no room for its record, and nor has the log it any more.
    Forgotten(Failure),
    /// The node refuses.
    Refused(Failure),
}

impl From<Unsettled> for Failure {
    fn from(why: Unsettled) -> Self {
        match why {
            Unsettled::Forgotten(failure) | Unsettled::Refused(failure) => failure,
        }
    }
}

async fn settle_one(
    client: &Client,
    (topic, name): (&str, &str),
    letter: &Read,
    retry: bool,
) -> Result<(), Unsettled> {
    let refused = |failure: Failure| {
        let message = format!("landfall dead: {name} was not settled: {}", failure.message);
        Unsettled::Refused(Failure { message, ..failure })
    };
    let again = match retry {
        true if letter.text("form") == FORM_LEFT_OUT => {
            let at = letter.text("record");
            let stored = stored(client, topic, &at).await.map_err(refused)?;
            let stored = stored.ok_or_else(|| {
                let text = format!("landfall dead: {name} has no room for its record, and the");
                let text = format!("{text} log has forgotten {at}; all that is left is to drop it");
                Unsettled::Forgotten(Failure::refused(text))
            })?;
            Some(stored.itself(topic))
        }
        true => Some(letter.about(topic)),
        false => None,
    };
    let done = client.group(letter.settled(topic, again), None).await;
    done.map(drop).map_err(|error| refused(error.into()))
}

/// The record at some coordinates, if the log still has it.
async fn stored(client: &Client, topic: &str, at: &str) -> Result<Option<Read>, Failure> {
    let Ok(Coordinates { stream, offset, epoch }) = at.parse() else { return Ok(None) };
    let mut query = Query::default();
    query.add("from", at);
    query.add("max", "1");
    let mut lines = match client.read(topic, &query.0).await {
        Err(ClientError::Refused(error)) if error.code == ErrorCode::Gone => return Ok(None),
        lines => lines?,
    };
    while let Some(line) = lines.next().await? {
        let Ok(read) = serde_json::from_slice::<Read>(&line) else { continue };
        let place = (read.origin.as_str(), read.partition, read.offset);
        let is_it = place == (stream.origin.as_str(), stream.partition, offset)
            && epoch.is_none_or(|epoch| u64::from_str_radix(&read.epoch, 16) == Ok(epoch));
        if is_it {
            return Ok(Some(read));
        }
    }
    Ok(None)
}

/// The letters of a topic that are not settled.
async fn letters(client: &Client, topic: &str) -> Result<Letters, Failure> {
    let mut found = Letters::new();
    let mut lines = client.read(&format!("{topic}{DEAD_SUFFIX}"), "").await?;
    while let Some(line) = lines.next().await? {
        if line.starts_with(b"{\"end\":") || line.starts_with(b"{\"gap\":") {
            continue;
        }
        let read: Option<Read> = serde_json::from_slice(&line).ok();
        let name = |read: &Read| read.key.as_ref()?.as_str().map(str::to_owned);
        let Some((name, read)) = read.and_then(|read| Some((name(&read)?, read))) else {
            // Whatever it is, it is no letter.
            continue;
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        let place = (name, read.origin.clone());
        match read.is_tombstone() {
            true => drop(found.remove(&place)),
            false => drop(found.insert(place, Read { line, ..read })),
        }
    }
    Ok(found)
}

fn listed(topic: &str, letters: &Letters, json: bool) -> String {
    let mut order: Vec<_> = letters.iter().collect();
    order.sort_by_key(|(_, letter)| letter.seq);
    if json {
        return order.iter().map(|(_, letter)| format!("{}\n", letter.line)).collect();
    }
    if order.is_empty() {
        return format!("there are no dead letters of {topic}\n");
    }
    let mut table = Table::new(&["letter", "written at", "since", "error"]);
    for ((name, writer), letter) in order {
        let error = letter.text("error").replace(['\n', '\r'], " ");
        table.row([name.clone(), writer.clone(), letter.timestamp.clone(), error]);
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
