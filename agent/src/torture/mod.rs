//! `landfall torture`: a test that people do with a real plug, and what it proves.
//!
//! ```text
//! writer ─ append ─▶ node ─▶ journal ┐
//!   │                                ├ the medium under test
//!   ├─ write, sync ─▶ control file ──┘
//!   └─ acknowledged up to here ─▶ ledger, elsewhere
//!
//! check: ledger ⇄ journal ⇄ control file ⇄ hub ─▶ what is lost, and who broke a promise
//! ```
//!
//! The ledger holds only what was acknowledged before, so nothing in it may be missing afterwards.
//! What was acknowledged in the last moment and is not in it is not checked.

mod check;
mod content;
mod control;
mod found;
mod hub;
mod ledger;
mod report;
mod shelf;
mod verdict;
mod write;

use std::io::{IsTerminal as _, Write};
use std::path::Path;

use content::RunId;
use control::Control;
use ledger::{Ledger, Line};
use write::{Plan, Writer, cannot_note};

use crate::cli::connect::running_node;
use crate::cli::status::print_text;
use crate::cli::torture::{TortureAction, TortureOptions};
use crate::cli::{Exit, Failure};
use crate::entropy;

/// Writes or checks, and writes to `out` what came of it.
///
/// # Errors
/// When nothing could be written or checked: what is wrong, where, and what to do.
pub async fn run(options: &TortureOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    match &options.action {
        TortureAction::Write { topic, rate, records } => {
            let plan = Plan { topic: topic.clone(), rate: *rate, records: *records };
            write(options, &plan, out).await
        }
        TortureAction::Check { hub } => {
            let (node, ledger) = (&options.node, options.ledger.as_ref());
            check::check(node, ledger, hub.as_deref(), options.json, out).await
        }
    }
}

async fn write(
    options: &TortureOptions,
    plan: &Plan,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let data = &options.node.data;
    let refused = |why: String| Failure::refused(format!("landfall torture: {why}"));
    let path = options.ledger.as_deref();
    if path.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "landfall torture: where shall the ledger go? Give a file on another disk by `--ledger \
             FILE`, or send standard output to another machine: ssh HOST landfall torture … \
             >> FILE",
        ));
    }
    let Some(client) = running_node(&options.node, std::env::vars()).await? else {
        let data = data.display();
        return Err(refused(format!(
            "no node runs in {data}; start it: landfall run --data {data}"
        )));
    };
    let status = client.status().await?;
    let run = RunId(entropy::number().map_err(|error| refused(error.to_string()))?);
    let place = || path.map_or("standard output".to_owned(), |path| path.display().to_string());
    let mut ledger = Ledger::open(path).map_err(|error| cannot_note(&place(), &error))?;
    warn(&ledger, data);
    let control = Control::create(data, run)
        .map_err(|error| refused(format!("no control file in {}: {error}", data.display())))?;
    let (site, log) = (status.site, status.log_id);
    let begun = Line::Run { id: run, site: site.clone(), topic: plan.topic.clone(), log };
    ledger.add(&[begun]).map_err(|error| cannot_note(&place(), &error))?;
    eprintln!("landfall torture: run {run} writes to {site}; pull the plug when you like");
    let writer = Writer::new(&client, plan, (run, ledger, control));
    let wrote = writer.write(interrupted()).await?;
    match (path, options.json) {
        // Standard output is the ledger's.
        (None, _) => eprintln!("landfall torture: {}", wrote.text()),
        (Some(_), true) => {
            print_text(out, &(serde_json::to_string(&wrote).unwrap_or_default() + "\n"))?;
        }
        (Some(_), false) => {
            print_text(out, &(wrote.text() + "\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// A ledger that the plug takes with it proves little.
fn warn(ledger: &Ledger, data: &Path) {
    if ledger.is_on_disk_of(data) {
        eprintln!(
            "landfall torture: {} is on the same disk as {}: what the disk forgets, the ledger may \
             forget too. This tells of kills and lost links, and not of lost power",
            ledger.place(),
            data.display()
        );
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
