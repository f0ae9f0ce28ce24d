//! `landfall verify`: checks every checksum, hash and invariant of a node's data.

use std::io::Write;

use super::status::print_text;
use super::terminal::Table;
use super::{Exit, Failure, VerifyOptions};
use crate::config::Config;
use crate::daemon::{Found, Inspection, Report};
use crate::quantity::{ByteSize, count_text};

/// Checks, and writes to `out` what it found.
///
/// # Errors
/// When the data can't be looked at: there is no node, it runs, or the disk does not read.
pub fn run(options: &VerifyOptions, out: &mut impl Write) -> Result<Exit, Failure> {
    let data = &options.node.data;
    let config = Config::load(options.node.config.as_deref(), data, std::env::vars())?;
    let inspection = Inspection::open(data, &config)
        .map_err(|error| Failure::refused(format!("landfall verify: {error}")))?;
    let report = inspection.verify().map_err(|error| {
        let text = format!("landfall verify: {}: {error}; not all was checked", data.display());
        Failure { exit: Exit::FailedCheck, message: text }
    })?;
    let text = match options.json {
        true => serde_json::to_string(&report).unwrap_or_default() + "\n",
        false => report_text(&report),
    };
    print_text(out, &text)?;
    Ok(if report.ok { Exit::Done } else { Exit::FailedCheck })
}

fn report_text(report: &Report) -> String {
    let mut lanes = Table::new(&["lane", ">first seq", ">next seq", ">used"]);
    for lane in &report.lanes {
        lanes.row([
            lane.name.clone(),
            count_text(lane.first_seq),
            count_text(lane.next_seq),
            ByteSize(lane.used_bytes).to_string(),
        ]);
    }
    let mut branches = Table::new(&["stream", ">from", ">next", "epoch", "hash of its records"]);
    for branch in &report.branches {
        branches.row([
            branch.stream.clone(),
            count_text(branch.from),
            count_text(branch.next),
            branch.epoch.clone(),
            branch.hash.clone(),
        ]);
    }
    let mut text = format!("{}\n\n{}\n{}", report.site, lanes.text(), branches.text());
    if !report.closed {
        text.push_str("\nThe node was not stopped in good order; it recovers when it starts.\n");
    }
    if report.torn_bytes > 0 {
        let torn = ByteSize(report.torn_bytes.into());
        text.push_str(&format!("A torn commit of {torn} was acknowledged to nobody.\n"));
    }
    push_list(&mut text, "\nMissing, as told before:\n", &report.told);
    push_list(&mut text, "\nFAILED:\n", &report.failed);
    if report.ok {
        text.push_str("\nAll checksums, hashes and invariants hold.\n");
    }
    text
}

fn push_list(text: &mut String, head: &str, list: &[Found]) {
    if list.is_empty() {
        return;
    }
    text.push_str(head);
    for Found { lane, segment, at, what } in list {
        text.push_str(&format!("  lane {lane}, segment {segment}, byte {at}: {what}\n"));
    }
}
