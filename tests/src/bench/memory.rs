//! Memory: a ship that catches up from a small and from a large backlog, and one that idles.

use std::io::{self, Error};
use std::time::Duration;

use landfall::api::LinkState;

use super::Options;
use super::backlog;
use super::pair::Pair;
use super::report::{Goal, Report, Row};
use crate::budgets::budget;
use crate::process::{Running, pause};

/// Records of the two backlogs: about 1 MiB and 2 GiB as stored.
const RECORDS: [u64; 2] = [4_000, 8_200_000];
/// How long a ship idles before it is measured.
const IDLE: Duration = Duration::from_secs(5);

/// # Errors
/// A node does not do what it should.
pub async fn run(options: &Options, report: &mut Report) -> io::Result<()> {
    let mut peaks = Vec::new();
    for records in [RECORDS[0], RECORDS[1] / options.divisor] {
        let pair = Pair::make(options, false).await?;
        let backlog = backlog::fill(&pair.ship.path, records).await?;
        let mut ship = pair.ship.run(&[])?;
        synced(&mut ship).await?;
        let peak = mebibytes(&ship, "VmHWM")?;
        let mib = backlog.stored_bytes as f64 / f64::from(1 << 20);
        let what = format!("peak RSS while catching up from {mib:.1} MiB");
        report.add(Row::new("memory", what, peak, "MiB").goal(at_most("rss_catching_up")));
        peaks.push(peak);
        ship.terminate().await?;
        if peaks.len() == 1 {
            let mut ship = pair.ship.run(&[])?;
            synced(&mut ship).await?;
            pause(IDLE).await;
            let idle = mebibytes(&ship, "VmRSS")?;
            let row = Row::new("memory", "RSS idle, link up", idle, "MiB");
            report.add(row.goal(at_most("rss_idle")));
            ship.terminate().await?;
        }
        pair.hub_runs.terminate().await?;
        std::fs::remove_dir_all(&pair.hub.path)?;
        std::fs::remove_dir_all(&pair.ship.path)?;
    }
    let more = peaks.last().unwrap_or(&0.0) - peaks.first().unwrap_or(&0.0);
    let what = "the large backlog's peak over the small one's";
    report.add(Row::new("memory", what, more, "MiB").goal(Goal::AtMost(1.0)));
    Ok(())
}

/// What a budget of bytes allows, in MiB.
pub(super) fn at_most(name: &str) -> Goal {
    Goal::AtMost(budget(name) as f64 / f64::from(1 << 20))
}

/// Waits until all is at the hub, asking seldom so that asking does not count.
async fn synced(ship: &mut Running) -> io::Result<()> {
    let waited = async {
        loop {
            pause(Duration::from_millis(200)).await;
            let status = ship.status().await;
            if status.and_then(|status| status.link).is_some_and(|l| l.state == LinkState::Synced) {
                return;
            }
        }
    };
    tokio::time::timeout(super::PATIENCE, waited).await.map_err(Error::other)
}

/// A line of `/proc/PID/status`, in MiB.
pub(super) fn mebibytes(running: &Running, name: &str) -> io::Result<f64> {
    let id = running.id().ok_or_else(|| Error::other("the ship has ended"))?;
    let text = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1_024.0).ok_or_else(|| Error::other(format!("no {name} in the status")))
}
