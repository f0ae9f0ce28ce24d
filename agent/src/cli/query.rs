//! `landfall query`: asks the views.

use std::io::{ErrorKind, Write};

use serde_json::{Map, Value};

use super::arguments::{Arguments, Stop, Word};
use super::connect::running_node;
use super::read::{RECONNECT_AFTER, RECONNECT_AFTER_MAX};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{Client, ClientError, QueryReply, QueryRequest};
use crate::views;

pub(super) const HELP: &str = "\
Ask the views in SQL

Usage: landfall query --data DIR SQL [OPTION…]

SQL is one statement that only reads. It sees the tables of all views, and _status, which tells how
fresh they are. Works without a running node, too, but for --live and --min-position.

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --max N          Print at most N rows; 1000 if left out
  --time TIME      Give up after this time, such as 30s; 5s if left out
  --min-position P Answer when the views have seen what is at P: coordinates that an append printed,
                   or a cursor
  --wait TIME      How long to wait for that; 5s if left out
  --live           Print the answer again whenever it is another one
  --json           Print one JSON object a row for machines; with --live, one an answer
  --help           Show this
";

/// Options of `landfall query`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct QueryOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to ask, and for how much.
    pub request: QueryRequest,
    /// Whether to go on asking.
    pub live: bool,
    /// Whether machines read the answer.
    pub json: bool,
}

impl QueryOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let mut request = QueryRequest::new("");
        let (mut live, mut json) = (false, false);
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--live" => live = true,
                Word::Option(name) if name == "--min-position" => {
                    request.min_position = Some(arguments.value(&name)?);
                }
                Word::Option(name) if name == "--wait" => {
                    request.wait_max_ms = arguments.ms(&name)?;
                }
                Word::Option(name) if name == "--max" => {
                    request.rows_max = arguments.parsed(&name)?;
                }
                Word::Option(name) if name == "--time" => {
                    request.time_max_ms = arguments.ms(&name)?;
                }
                Word::Plain(text) if request.sql.is_empty() => request.sql = text,
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        if request.sql.trim().is_empty() {
            return Err(arguments.wrong("ask what? Give one statement of SQL, in quotes").into());
        }
        Ok(Command::Query(Self { node: arguments.data()?, request, live, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// When the question can't be answered or `out` fails.
pub async fn run(options: &QueryOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let reply = match running_node(&options.node, std::env::vars()).await? {
        Some(node) if options.live => return live(options, &node, out).await,
        Some(node) => node.query(&options.request).await?,
        None if options.live || options.request.min_position.is_some() => {
            let data = options.node.data.display();
            return Err(Failure::refused(format!(
                "landfall query: no node runs on {data}, which --live and --min-position need; \
                 start it with `landfall run --data {data}`"
            )));
        }
        None => {
            let asked = views::query(&options.node.data.join(views::FILE_NAME), &options.request);
            asked.map_err(|error| Failure::refused(error.to_string()))?
        }
    };
    if reply.truncated {
        eprintln!("landfall query: there are more rows; `--max` lets more through");
    }
    print_text(out, &if options.json { lines(&reply) } else { table(&reply) })
}

/// Prints every answer until nobody reads them, also those of a node that was away.
async fn live(
    options: &QueryOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let (mut last, mut pause) = (None, RECONNECT_AFTER);
    loop {
        let error = match client.live(&options.request, last.as_deref()).await {
            Err(error) => error,
            Ok(mut answers) => loop {
                match answers.next().await {
                    Err(error) => break error,
                    Ok(None) => break ClientError::Broken("the answer ended".to_owned()),
                    Ok(Some(answer)) => {
                        if !print_answer(options, &answer.data, out)? {
                            return Ok(Exit::Done);
                        }
                        (last, pause) = (Some(answer.id), RECONNECT_AFTER);
                    }
                }
            },
        };
        // A node that was never there is a mistake; one that went away comes back.
        if last.is_none() || !error.may_pass() {
            return Err(error.into());
        }
        eprintln!("landfall query: {error}; trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_AFTER_MAX);
    }
}

/// Prints an answer; false if nobody reads it.
fn print_answer(
    options: &QueryOptions,
    answer: &[u8],
    out: &mut impl Write,
) -> Result<bool, Failure> {
    let text = if options.json {
        String::from_utf8_lossy(answer).into_owned()
    } else {
        let reply = serde_json::from_slice(answer)
            .map_err(|error| Failure::refused(format!("an unknown answer: {error}")))?;
        table(&reply)
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written
            .and_then(|()| out.flush())
            .map(|()| true)
            .map_err(|error| Failure::refused(format!("cannot print: {error}"))),
    }
}

/// One JSON object a row; of columns with the same name, the last.
pub(super) fn lines(reply: &QueryReply) -> String {
    let object = |row: &Vec<Value>| {
        let pairs = reply.columns.iter().cloned().zip(row.iter().cloned());
        Value::Object(pairs.collect::<Map<_, _>>()).to_string() + "\n"
    };
    reply.rows.iter().map(object).collect()
}

pub(super) fn table(reply: &QueryReply) -> String {
    let is_number = |column: usize| {
        let mut values = reply.rows.iter().filter_map(|row| row.get(column));
        values.all(|value| value.is_number() || value.is_null())
    };
    let head = |(at, name): (usize, &String)| {
        if is_number(at) && !reply.rows.is_empty() { format!(">{name}") } else { name.clone() }
    };
    let heads: Vec<_> = reply.columns.iter().enumerate().map(head).collect();
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &reply.rows {
        table.row(row.iter().map(cell));
    }
    table.text()
}

/// A value on one line, without what a terminal takes for orders.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_table_for_people_and_objects_for_machines() {
        let rows = vec![
            vec![Value::from("Anna"), Value::from(7.5)],
            vec![Value::from("Bo\nb\x1b[0m"), Value::Null],
        ];
        let columns = vec!["name".to_owned(), "sog".to_owned()];
        let reply = QueryReply { columns, rows, truncated: false };
        assert_eq!(table(&reply), "name      sog\nAnna      7.5\nBo b [0m\n");
        let expected =
            "{\"name\":\"Anna\",\"sog\":7.5}\n{\"name\":\"Bo\\nb\\u001b[0m\",\"sog\":null}\n";
        assert_eq!(lines(&reply), expected);
    }
}
