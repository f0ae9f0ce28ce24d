//! `landfall consumer`: how far consumers are, and where they go on.

use std::io::Write;
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use super::arguments::{Arguments, Stop, Word};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{AdminReply, Client, ConsumerStatus, encoded};
use crate::quantity::{count_text, duration_text};

pub(super) const HELP: &str = "\
Show how far consumers are, and say where they go on

Usage: landfall consumer --data DIR list [--json]
       landfall consumer --data DIR show NAME [--json]
       landfall consumer --data DIR create NAME TOPIC… [--from POSITION]
       landfall consumer --data DIR seek NAME POSITION
       landfall consumer --data DIR drop NAME

A consumer is a cursor that the node keeps for a program: what is behind it the program has taken
in. POSITION is `earliest`, `latest`, `@OFFSET`, coordinates such as ship-17/ais/0@4711, a time such
as 2022-01-03T00:00:00Z, or a cursor. drop forgets the cursor, and nothing else.

Options:
  --data DIR         The node's directory
  --config FILE      Its configuration; landfall.toml in the directory if left out
  --from POSITION    Where a new consumer begins; `earliest` if left out
  --json             Print JSON for machines
  --help             Show this
";

/// Options of `landfall consumer`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsumerOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to do.
    pub action: ConsumerAction,
    /// Whether machines read it.
    pub json: bool,
}

/// What to do with consumers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConsumerAction {
    /// Show all.
    List,
    /// Show one.
    Show(String),
    /// Make one of these topics, from a position.
    Create(String, Vec<String>, String),
    /// Have one go on at a position.
    Seek(String, String),
    /// Forget one.
    Drop(String),
}

impl ConsumerOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json, mut from) = (Vec::new(), false, None);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--from" => from = Some(arguments.value(&name)?),
                Word::Plain(text) => words.push(text),
                Word::Option(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = |word: &str| word.to_owned();
        let shows = matches!(words.first(), Some(&("list" | "show")));
        let creates = words.first() == Some(&"create");
        if json && !shows || from.is_some() && !creates {
            let what = if json { "`--json` is for `list` and `show`" } else { "" };
            let what = if what.is_empty() { "`--from` is for `create`" } else { what };
            return Err(arguments.wrong(what).into());
        }
        let action = match words.as_slice() {
            ["list"] => ConsumerAction::List,
            ["show", name] => ConsumerAction::Show(text(name)),
            ["create", name, topics @ ..] if !topics.is_empty() => {
                let topics = topics.iter().map(|topic| text(topic)).collect();
                let from = from.unwrap_or_else(|| text("earliest"));
                ConsumerAction::Create(text(name), topics, from)
            }
            ["seek", name, position] => ConsumerAction::Seek(text(name), text(position)),
            ["drop", name] => ConsumerAction::Drop(text(name)),
            ["create", ..] => return Err(arguments.wrong("create which, of which topics?").into()),
            ["seek", ..] => return Err(arguments.wrong("seek which consumer, to where?").into()),
            ["show" | "drop", ..] => return Err(arguments.wrong("say one consumer").into()),
            _ => {
                let what = "say `list`, `show`, `create`, `seek` or `drop`";
                return Err(arguments.wrong(what).into());
            }
        };
        Ok(Command::Consumer(Self { node: arguments.data()?, action, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// As the node says, or when nothing answers or `out` fails.
pub async fn run(
    options: &ConsumerOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let of = |name: &str| format!("/v1/consumers/{}", encoded(name));
    let done = match &options.action {
        ConsumerAction::List => {
            let all = client.consumers().await?;
            let text = match options.json {
                true => serde_json::to_string(&all).unwrap_or_default() + "\n",
                false if all.consumers.is_empty() => {
                    "there is no consumer; docs/consumers.md tells how to make one\n".to_owned()
                }
                false => consumers_table(&all.consumers),
            };
            return print_text(out, &text);
        }
        ConsumerAction::Show(name) => {
            let one = client.consumer(name).await?;
            let text = match options.json {
                true => serde_json::to_string(&one).unwrap_or_default() + "\n",
                false => consumer_text(&one),
            };
            return print_text(out, &text);
        }
        ConsumerAction::Create(consumer, topics, from) => {
            let body = json!({"consumer": consumer, "topics": topics, "from": from});
            client.admin(Method::POST, "/v1/consumers", Some(&body)).await?
        }
        ConsumerAction::Seek(name, position) => {
            let body = json!({"to": position});
            client.admin(Method::POST, &format!("{}/seek", of(name)), Some(&body)).await?
        }
        ConsumerAction::Drop(name) => client.admin(Method::DELETE, &of(name), None).await?,
    };
    match done {
        AdminReply::Done { message } => print_text(out, &(message + "\n")),
        _ => Ok(Exit::Done),
    }
}

/// The consumers for people.
#[must_use]
pub fn consumers_table(consumers: &[ConsumerStatus]) -> String {
    let mut table = Table::new(&["consumer", "topics", ">behind", "cursor"]);
    for one in consumers {
        table.row([
            one.consumer.clone(),
            one.topics.join(", "),
            count_text(one.behind_records),
            one.cursor.clone().unwrap_or_else(|| "lost; seek".to_owned()),
        ]);
    }
    let mut text = table.text();
    for one in consumers.iter().filter(|one| one.lacking > 0) {
        let lacking = count_text(one.lacking);
        text.push_str(&format!(
            "\n{}: the log forgot {lacking} records before the consumer took them in\n",
            one.consumer
        ));
    }
    text
}

fn consumer_text(one: &ConsumerStatus) -> String {
    let mut text = consumers_table(core::slice::from_ref(one));
    if !one.members.is_empty() {
        text.push('\n');
        let mut table = Table::new(&["member", ">slots", ">lease"]);
        for member in &one.members {
            let lease = duration_text(Duration::from_millis(member.lease_ms));
            table.row([member.member.clone(), member.slots.to_string(), lease]);
        }
        text.push_str(&table.text());
    }
    if one.shares.len() > 1 {
        text.push('\n');
        let mut table = Table::new(&[">slots", "cursor"]);
        for share in &one.shares {
            let cursor = share.cursor.clone().unwrap_or_else(|| "lost; seek".to_owned());
            table.row([share.slots.to_string(), cursor]);
        }
        text.push_str(&table.text());
    }
    text
}
