//! `landfall view`: how the views are, and what they are.

use std::io::Write;
use std::time::Duration;

use super::arguments::{Arguments, Stop, Word};
use super::connect::running_node;
use super::query::{lines, table};
use super::status::print_text;
use super::terminal::Table;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{
    QueryReply, QueryRequest, ViewAt, ViewAtRequest, ViewState, ViewStatus, ViewVerdict,
};
use crate::config::Config;
use crate::nearest::nearest;
use crate::quantity::{count_text, duration_text};
use crate::views;
use crate::views::definition::Definition;

pub(super) const HELP: &str = "\
Show how the views are, and what their definitions do

Usage: landfall view --data DIR list [OPTION…]
       landfall view --data DIR explain NAME
       landfall view --data DIR verify NAME [OPTION…]
       landfall view --data DIR at NAME COORDINATES [OPTION…]

list shows how they are; without a running node, how they were when it stopped. explain prints the
SQL of a view as the configuration defines it, also what a short form stands for, and checks it.
verify makes its rows again from the log, beside those that are there, and shows what differs; it
exits with 1 if anything does. at makes its rows again up to a record, such as ship-17/ais/0@4711,
and shows them as they were when it had taken that in; sweeps are left out.

Options:
  --data DIR       The node's directory
  --config FILE    Its configuration; landfall.toml in the directory if left out
  --sql SQL        With at: ask this, and not for all rows
  --max N          With at: rows at most; 1000 if left out
  --accept-loss    With at: show the rows without the records that the log has forgotten
  --json           Print JSON for machines; with at, one object a row
  --help           Show this
";

/// Options of `landfall view`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ViewOptions {
    /// Which node.
    pub node: DataOptions,
    /// What to show.
    pub action: ViewAction,
    /// Whether machines read it.
    pub json: bool,
}

/// What to show of views.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ViewAction {
    /// How they are.
    List,
    /// What one does.
    Explain(String),
    /// Whether one is what the log says.
    Verify(String),
    /// What one was behind a record.
    At(String, ViewAtRequest),
}

impl ViewOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut words, mut json) = (Vec::new(), false);
        let (mut past, usual) = (ViewAtRequest::new(""), ViewAtRequest::new(""));
        while let Some(word) = arguments.next()? {
            match word {
                Word::Option(name) if name == "--json" => json = true,
                Word::Option(name) if name == "--accept-loss" => past.accept_loss = true,
                Word::Option(name) if name == "--sql" => past.sql = Some(arguments.value(&name)?),
                Word::Option(name) if name == "--max" => past.rows_max = arguments.parsed(&name)?,
                Word::Plain(text) if words.len() < 3 => words.push(text),
                _ => return Err(arguments.unknown(&word).into()),
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let action = match words.as_slice() {
            ["at", name, coordinates] => {
                past.coordinates = (*coordinates).to_owned();
                ViewAction::At((*name).to_owned(), past)
            }
            ["at", ..] => return Err(arguments.wrong("at which record of which view?").into()),
            _ if past != usual => {
                return Err(arguments
                    .wrong("`--sql`, `--max` and `--accept-loss` go with `at`")
                    .into());
            }
            ["list"] => ViewAction::List,
            ["explain", name] if !json => ViewAction::Explain((*name).to_owned()),
            ["verify", name] => ViewAction::Verify((*name).to_owned()),
            ["verify"] => return Err(arguments.wrong("verify which view?").into()),
            ["explain"] => return Err(arguments.wrong("explain which view?").into()),
            _ => {
                return Err(arguments
                    .wrong("say `list`, `explain NAME`, `verify NAME` or `at NAME COORDINATES`")
                    .into());
            }
        };
        Ok(Command::View(Self { node: arguments.data()?, action, json }))
    }
}

/// Asks, and writes the answer to `out`.
///
/// # Errors
/// When the views can't be read, there is no such view, or `out` fails.
pub async fn run(options: &ViewOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    if let ViewAction::Explain(name) = &options.action {
        return explain(options, name, out);
    }
    let found = match running_node(&options.node, std::env::vars()).await? {
        Some(node) => node.status().await?.views,
        None => stored(options)?,
    };
    let text = match options.json {
        true => serde_json::to_string(&found).unwrap_or_default() + "\n",
        false if found.is_empty() => "no view is defined; docs/views.md tells how\n".to_owned(),
        false => views_table(&found),
    };
    print_text(out, &text)
}

/// Writes what a comparison found to `out`.
///
/// # Errors
/// When `out` fails.
pub fn print_verdict(
    options: &ViewOptions,
    verdict: &ViewVerdict,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let text = match options.json {
        true => serde_json::to_string(verdict).unwrap_or_default() + "\n",
        false => verdict_text(verdict),
    };
    print_text(out, &text)?;
    Ok(if verdict.is_same() { Exit::Done } else { Exit::FailedCheck })
}

/// Writes what a view's rows were to `out`.
///
/// # Errors
/// When `out` fails.
pub fn print_past(
    options: &ViewOptions,
    past: ViewAt,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let ViewAt { view, coordinates, records, lacking, columns, rows, truncated, .. } = past;
    let reply = QueryReply { columns, rows, truncated };
    let records = count_text(records);
    eprintln!("landfall view: {view} behind {coordinates}, made of {records} records");
    if lacking > 0 {
        let lacking = count_text(lacking);
        eprintln!("landfall view: up to {lacking} records are gone from the log, and not in it");
    }
    if truncated {
        eprintln!("landfall view: there are more rows; `--max` lets more through");
    }
    print_text(out, &if options.json { lines(&reply) } else { table(&reply) })
}

fn verdict_text(verdict: &ViewVerdict) -> String {
    let ViewVerdict { view, commit, records, records_again, lacking, tables, .. } = verdict;
    let rows = count_text(tables.iter().map(|table| table.rows).sum());
    let of = format!("of {} records up to commit {commit}", count_text(*records));
    let mut text = match verdict.is_same() {
        true => format!("{view}: {rows} rows {of} are what the log says\n"),
        false => format!("{view}: rows {of} are not what the log says\n\n"),
    };
    if *lacking > 0 {
        text.push_str(&format!(
            "The log has forgotten up to {} records since the view took them; {} were taken now.\n",
            count_text(*lacking),
            count_text(*records_again)
        ));
    }
    if verdict.is_same() {
        return text;
    }
    let mut table = Table::new(&["table", ">rows", ">made again", ">too many", ">missing"]);
    for one in tables {
        let counts = [one.rows, one.rows_again, one.surplus, one.missing].map(count_text);
        table.row([one.table.clone()].into_iter().chain(counts));
    }
    text.push_str(&table.text());
    for one in tables {
        for (what, rows) in [("too many", &one.surplus_rows), ("missing", &one.missing_rows)] {
            for row in rows {
                text.push_str(&format!("\n{}, {what}: {row}", one.table));
            }
        }
    }
    text + "\n"
}

fn explain(options: &ViewOptions, name: &str, out: &mut impl Write) -> Result<Exit, Failure> {
    let node = &options.node;
    let config = Config::load(node.config.as_deref(), &node.data, std::env::vars())?;
    let Some(view) = config.views.iter().find(|view| view.name == name) else {
        let meant = nearest(name, config.views.iter().map(|view| view.name.as_str()));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        return Err(Failure::refused(format!("landfall view: there is no view `{name}`{meant}")));
    };
    print_text(out, &explained(view))?;
    match views::check_alone(view) {
        Ok(()) => Ok(Exit::Done),
        Err(invalid) => {
            eprintln!("landfall view: {name}: {invalid}");
            Ok(Exit::FailedCheck)
        }
    }
}

/// A view as SQL, with comments.
fn explained(view: &Definition) -> String {
    let mut text =
        format!("-- view {}, definition {}\n{}\n", view.name, view.hash(), view.ddl.trim());
    let mut add = |head: String, statements: &[String]| {
        for sql in statements {
            text.push_str(&format!("\n-- {head}\n{};\n", sql.trim().trim_end_matches(';')));
        }
    };
    for (topic, source) in &view.sources {
        add(format!("a record of {topic}"), &source.put);
        add(format!("a tombstone of {topic}"), &source.delete);
        for (to, queries) in &source.emit {
            add(format!("what a record of {topic} derives for {to}"), queries);
        }
    }
    if let Some(retention) = &view.retention {
        let every = duration_text(Duration::from_millis(retention.every_ms));
        add(format!("every {every}"), &retention.statements);
    }
    text
}

/// What the file says while no node keeps it.
fn stored(options: &ViewOptions) -> Result<Vec<ViewStatus>, Failure> {
    let path = options.node.data.join(views::FILE_NAME);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let sql = "SELECT s.view, s.generation, s.state, s.reason, coalesce(s.commit_no, 0), \
               s.caught_up, coalesce(s.records, 0), coalesce(s.errors, 0), coalesce(s.lacking, 0), \
               (SELECT json_group_array(key) FROM json_each(v.definition, '$.sources')), \
               coalesce(s.derived, 0), (SELECT count(*) FROM _outbox o WHERE o.view = s.view), \
               (SELECT json_group_array(DISTINCT e.key) \
               FROM json_each(v.definition, '$.sources') t, json_each(t.value, '$.emit') e) \
               FROM _status s JOIN _views v USING(view) ORDER BY 1";
    let reply = views::query(&path, &QueryRequest::new(sql));
    let reply = reply.map_err(|error| Failure::refused(error.to_string()))?;
    Ok(as_status(&reply))
}

fn as_status(reply: &QueryReply) -> Vec<ViewStatus> {
    let view = |row: &Vec<serde_json::Value>| {
        let [view, generation, state, reason, commit, caught_up, records, errors, rest @ ..] =
            row.as_slice()
        else {
            return None;
        };
        let [lacking, topics, derived, outbox, derives] = rest else { return None };
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        Some(ViewStatus {
            view: text(view)?,
            topics: serde_json::from_str(topics.as_str()?).ok()?,
            generation: generation.as_u64()?,
            state: match state.as_str()? {
                "failed" => ViewState::Failed,
                "halted" => ViewState::Halted,
                _ => ViewState::Running,
            },
            reason: text(reason),
            commit: commit.as_u64()?,
            behind_commits: 0,
            caught_up: caught_up.as_u64()? == 1,
            records: records.as_u64()?,
            errors: errors.as_u64()?,
            lacking: lacking.as_u64()?,
            derives: serde_json::from_str(derives.as_str()?).ok()?,
            derived: derived.as_u64()?,
            outbox: outbox.as_u64()?,
            next: None,
        })
    };
    reply.rows.iter().filter_map(view).collect()
}

/// The views for people.
#[must_use]
pub fn views_table(views: &[ViewStatus]) -> String {
    let heads = ["view", "topics", ">generation", "state", ">behind", ">records", ">refused"];
    let mut table = Table::new(&heads);
    for view in views {
        table.row([
            view.view.clone(),
            view.topics.join(", "),
            view.generation.to_string(),
            state_text(view.state).to_owned(),
            count_text(view.behind_commits),
            count_text(view.records),
            count_text(view.errors),
        ]);
    }
    let mut text = table.text();
    for view in views {
        if let Some(reason) = &view.reason {
            text.push_str(&format!("\n{}: {reason}\n", view.view));
        }
        if view.lacking > 0 {
            let lacking = count_text(view.lacking);
            text.push_str(&format!(
                "\n{}: the log forgot up to {lacking} records before the view came to them\n",
                view.view
            ));
        }
        if let Some(next) = &view.next {
            let (generation, records) = (next.generation, count_text(next.records));
            text.push_str(&format!(
                "\n{}: generation {generation} is built, {records} records so far\n",
                view.view
            ));
        }
    }
    text
}

fn state_text(state: ViewState) -> &'static str {
    match state {
        ViewState::Running => "running",
        ViewState::Failed => "failed",
        ViewState::Halted => "halted",
        ViewState::Waiting => "waiting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::definition::Retention;
    use crate::views::definition::tests::definition;

    #[test]
    fn a_view_is_explained_in_its_own_sql() {
        let mut view = definition("v", "CREATE TABLE t(k)", "DELETE FROM t;", &["DELETE FROM t"]);
        view.retention =
            Some(Retention { statements: vec!["DELETE FROM t".into()], every_ms: 60_000 });
        let expected = format!(
            "-- view v, definition {}\nCREATE TABLE t(k)\n\n-- a record of ais\nDELETE FROM t;\n\n\
             -- a tombstone of ais\nDELETE FROM t;\n\n-- every 1m\nDELETE FROM t;\n",
            view.hash()
        );
        assert_eq!(explained(&view), expected);
    }
}
