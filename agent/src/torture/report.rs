//! What a check came to, for people and for machines.

use serde::Serialize;

use super::shelf::Numbers;
use super::verdict::{Broke, Fault, Place, Tally, What};
use crate::cli::terminal::Table;
use crate::quantity::{count_text, counted};

/// The outcome of a check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Whether everything is as the ledger says, and nothing is damaged.
    pub(super) ok: bool,
    /// Who broke a promise; none if nobody did.
    pub(super) broke: Option<Broke>,
    /// The node that wrote.
    pub(super) site: String,
    /// Where it wrote.
    pub(super) topic: String,
    /// Each run.
    pub(super) runs: Vec<Tally>,
    /// What is not as it should be, up to 1,000.
    pub(super) faults: Vec<Fault>,
    /// What else was seen of the node and its medium.
    pub(super) evidence: Vec<String>,
    /// Lines of the ledger that are cut off or damaged.
    pub(super) unreadable_lines: u64,
}

/// Faults and findings that are listed; more would not tell more.
pub(super) const LISTED_MAX: usize = 1_000;

impl Report {
    /// As people read it.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}, topic {}\n\n{}", self.site, self.topic, self.table());
        if self.unreadable_lines > 0 {
            let lines = counted(self.unreadable_lines, "line");
            text.push_str(&format!("\n{lines} of the ledger cut off; not checked.\n"));
        }
        let forgotten: u64 = self.runs.iter().map(|run| run.forgotten).sum();
        if forgotten > 0 && self.runs.iter().all(|run| run.at_hub.is_none()) {
            let records = counted(forgotten, "record");
            text.push_str(&format!(
                "\n{records} dropped here as durable at the root; give --hub to check them there.\n"
            ));
        }
        for fault in &self.faults {
            text.push_str(&format!("\n{}", fault_text(fault)));
        }
        if !self.evidence.is_empty() {
            text.push_str("\nSeen besides:\n");
            for line in &self.evidence {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text.push_str(&format!("\n{}\n", self.verdict()));
        text
    }

    fn table(&self) -> String {
        let mut table = Table::new(&[
            "run",
            ">acknowledged",
            ">here",
            ">forgotten",
            ">lost",
            ">more",
            ">at the hub",
        ]);
        for run in &self.runs {
            table.row([
                run.run.to_string(),
                count_text(run.acknowledged),
                count_text(run.here),
                count_text(run.forgotten),
                count_text(run.lost),
                count_text(run.more),
                run.at_hub.map_or("-".to_owned(), count_text),
            ]);
        }
        table.text()
    }

    fn verdict(&self) -> &'static str {
        match self.broke {
            None => "KEPT: every acknowledged record is there once, in order, with its content.",
            Some(Broke::Nobody) => "LOST, as configured: no promise was broken.",
            Some(Broke::Undecided) => {
                "BROKEN, and it can't be told by whom. What to do stands above."
            }
            Some(Broke::Medium) => {
                "THE MEDIUM BROKE ITS PROMISE: the disk, its controller, the file system or its \
                 settings.\nDo not trust it with data; look for a write cache without power-loss \
                 protection, and for barriers\nthat are switched off."
            }
            Some(Broke::Agent) => {
                "THE AGENT BROKE ITS PROMISE: this is an error in Landfall. Please report it, with \
                 the ledger,\nthis report (--json) and a copy of the directory as it is now."
            }
        }
    }
}

fn fault_text(fault: &Fault) -> String {
    let Fault { run, place, what, numbers, at, why, at_hub, .. } = fault;
    let what = match what {
        What::Lost => "LOST",
        What::Changed => "CHANGED",
        What::Twice => "TWICE",
        What::OutOfOrder => "OUT OF ORDER",
        What::Elsewhere => "ELSEWHERE",
    };
    let place = if *place == Place::Hub { " at the hub" } else { "" };
    let records = counted(numbers.count(), "record");
    let mut text = format!("{what}{place}: {records} of run {run}, {}", numbers_text(*numbers));
    if let Some(at) = at {
        text.push_str(&format!(", from {at}"));
    }
    text.push_str(&format!("\n  {why}\n"));
    if *at_hub > 0 {
        let there = count_text(*at_hub);
        text.push_str(&format!("  The hub has {there} of them, and gives them back.\n"));
    }
    text
}

fn numbers_text(Numbers { first, last }: Numbers) -> String {
    match first == last {
        true => format!("number {}", count_text(first)),
        false => format!("numbers {} to {}", count_text(first), count_text(last)),
    }
}
