//! The check: the ledger, the directory and the hub, side by side.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::content::RunId;
use super::control::{self, Block};
use super::found::{self, Found};
use super::hub;
use super::ledger::{self, Book};
use super::report::{LISTED_MAX, Report};
use super::shelf::Shelves;
use super::verdict::{Broke, Scene};
use crate::api::{Client, ClientError, ErrorCode, Target};
use crate::cli::connect::running_node;
use crate::cli::status::print_text;
use crate::cli::{DataOptions, Exit, Failure};
use crate::config::Config;
use crate::daemon::{Inspection, Report as Verified, StartError};

/// Checks, and writes to `out` what it found.
///
/// # Errors
/// When the ledger or the data can't be looked at.
pub(super) async fn check(
    node: &DataOptions,
    ledger: Option<&PathBuf>,
    hub: Option<&Path>,
    json: bool,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let book = read_book(ledger)?;
    let (verified, found) = look(node, &book).await?;
    let there = match hub {
        Some(path) => Some(look_at_hub(path, &book).await?),
        None => None,
    };
    let controls = controls(&node.data, &book);
    // Where another node's directory is given, it stands for the hub's.
    let scene = match verified.site == book.site {
        true => Scene { here: Some(&found), hub: there.as_ref(), controls },
        false => Scene { here: None, hub: Some(&found.shelves), controls },
    };
    let report = report(&book, &scene, &verified);
    let text = match json {
        true => serde_json::to_string(&report).unwrap_or_default() + "\n",
        false => report.text(),
    };
    print_text(out, &text)?;
    Ok(if report.ok { Exit::Done } else { Exit::FailedCheck })
}

fn read_book(ledger: Option<&PathBuf>) -> Result<Book, Failure> {
    let place = ledger.map_or("standard input".to_owned(), |path| path.display().to_string());
    let failed = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("landfall torture: the ledger in {place}: {error}"))
    };
    let source = ledger::source(ledger).map_err(|error| failed(&error))?;
    Book::read(source).map_err(|error| failed(&error))
}

/// Opens the journal of a stopped node without changing it, and reads all of it.
async fn look(node: &DataOptions, book: &Book) -> Result<(Verified, Found), Failure> {
    let data = node.data.display();
    if running_node(node, std::env::vars()).await?.is_some() {
        return Err(Failure::refused(format!(
            "landfall torture: a node runs in {data}: stop it, so that what its disk has can be \
             looked at"
        )));
    }
    let config = Config::load(node.config.as_deref(), &node.data, std::env::vars())?;
    let inspection = Inspection::open(&node.data, &config).map_err(|error| {
        let acknowledged: u64 =
            book.runs.iter().flat_map(|run| &run.acked).map(|it| it.count).sum();
        match error {
            StartError::NoNode(_) => Failure {
                exit: Exit::FailedCheck,
                message: format!(
                    "landfall torture: there is no node in {data}, where {acknowledged} records \
                     were acknowledged; if this is the directory, its medium or file system lost it"
                ),
            },
            other => Failure::refused(format!("landfall torture: {other}")),
        }
    })?;
    let unread = |error| Failure {
        exit: Exit::FailedCheck,
        message: format!("landfall torture: {data}: {error}; not all was checked"),
    };
    let verified = inspection.verify().map_err(unread)?;
    let found = found::scan(&inspection, &book.site, &book.topic).map_err(unread)?;
    Ok((verified, found))
}

/// What the hub has: as its API says if it runs, else as its directory does.
async fn look_at_hub(path: &Path, book: &Book) -> Result<Shelves, Failure> {
    let is_socket = path.metadata().is_ok_and(|found| found.file_type().is_socket());
    let node = DataOptions { data: path.to_path_buf(), config: None };
    // The variables are those of the node under test.
    let client = match is_socket {
        true => Some(Client::new(Target::Unix(path.to_path_buf()))),
        false => running_node(&node, []).await?,
    };
    let refused = |error: &dyn std::fmt::Display| {
        Failure::refused(format!("landfall torture: the hub at {}: {error}", path.display()))
    };
    let Some(client) = client else {
        let config = Config::load(None, path, [])?;
        let inspection = Inspection::open(path, &config).map_err(|error| refused(&error))?;
        let found = found::scan(&inspection, &book.site, &book.topic);
        return found.map(|found| found.shelves).map_err(|error| refused(&error));
    };
    match hub::scan(&client, &book.site, &book.topic).await {
        Err(ClientError::Refused(error)) if error.code == ErrorCode::UnknownTopic => {
            Ok(Shelves::default())
        }
        other => other.map_err(|error| refused(&error)),
    }
}

fn controls(data: &Path, book: &Book) -> BTreeMap<RunId, Block> {
    let newest = |run: &ledger::Run| Some((run.id, control::newest(data, run.id)?));
    book.runs.iter().filter_map(newest).collect()
}

fn report(book: &Book, scene: &Scene<'_>, verified: &Verified) -> Report {
    let (runs, mut faults) = scene.judge(book);
    let damage = (!verified.ok).then_some(Broke::Medium);
    let broke = faults.iter().map(|fault| fault.broke).chain(damage).max();
    faults.truncate(LISTED_MAX);
    let (site, topic) = (book.site.clone(), book.topic.clone());
    let evidence = evidence(book, scene, verified);
    let (ok, unreadable_lines) = (broke.is_none(), book.unreadable);
    Report { ok, broke, site, topic, runs, faults, evidence, unreadable_lines }
}

/// What else a person should see who judges by the report.
fn evidence(book: &Book, scene: &Scene<'_>, verified: &Verified) -> Vec<String> {
    let mut seen = Vec::new();
    let listed = [("damage", &verified.failed), ("damage told before", &verified.told)];
    for (kind, list) in listed {
        seen.extend(list.iter().map(|found| {
            let place = format!("lane {}, segment {}", found.lane, found.segment);
            format!("{kind}: {place}, byte {}: {}", found.at, found.what)
        }));
    }
    if verified.torn_bytes > 0 {
        seen.push(format!("the last commit is torn, with {} bytes", verified.torn_bytes));
    }
    if scene.here.is_some() {
        for run in &book.runs {
            let Some(synced) = run.control else { continue };
            let found = scene.controls.get(&run.id);
            if found.is_none_or(|block| block.number < synced) {
                let found = found.map_or("none".to_owned(), |block| block.number.to_string());
                let text = format!("control blocks to {synced} were synced, the last is {found}");
                seen.push(format!("run {}: {text}", run.id));
            }
        }
    }
    if let Some(foreign) = scene.here.map(|here| here.shelves.foreign).filter(|n| *n > 0) {
        seen.push(format!("{foreign} records of the topic are none of this test"));
    }
    seen.truncate(LISTED_MAX);
    seen
}
