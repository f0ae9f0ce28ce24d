//! Looking at a node's journal while the node does not run: all of it is checked, nothing changed.

use std::path::Path;

use landfall_core::frontier::{Frontier, HubFrontier, StreamIx};
use landfall_core::journal::{Fault, Finding, Fresh, Journal, Recovery};
use landfall_core::limits::ENTRY_BYTES_MAX;
use landfall_core::media::MediaError;
use landfall_core::num::{BootId, CommitNo, Epoch, Lane, LogId};
use landfall_core::tables::{Heap, Parts};
use serde::Serialize;

use super::open::{Layout, STREAMS_MAX, StartError, lanes_made};
use crate::config::Config;
use crate::entropy;
use crate::media::Overlay;

/// A journal that is looked at.
pub struct Inspection {
    site: String,
    lanes: Vec<String>,
    journal: Journal<Overlay, Heap>,
    recovery: Recovery,
}

/// What a check of a journal found.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The node.
    pub site: String,
    /// Whether nothing failed.
    pub ok: bool,
    /// What failed, up to 1,000.
    pub failed: Vec<Found>,
    /// What is missing and was told before, up to 1,000.
    pub told: Vec<Found>,
    /// Each lane: its name, the first seq that is kept and the next one.
    pub lanes: Vec<LaneReport>,
    /// Each branch of each stream, with the hash that its records give.
    pub branches: Vec<BranchReport>,
    /// Whether the journal was closed in good order.
    pub closed: bool,
    /// Bytes of a commit that a power cut tore; it was acknowledged to nobody.
    pub torn_bytes: u32,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Found {
    /// The lane's name.
    pub lane: String,
    /// Number of the segment.
    pub segment: u64,
    /// Bytes from the segment's start.
    pub at: u32,
    /// What is wrong, and what it means.
    pub what: String,
}

/// A lane's extent.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct LaneReport {
    /// Its name.
    pub name: String,
    /// The first seq that is kept.
    pub first_seq: u64,
    /// The next one.
    pub next_seq: u64,
    /// Bytes it takes.
    pub used_bytes: u64,
}

/// A branch's extent and hash, computed from its records.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct BranchReport {
    /// The stream, as `ship-17/ais/0`.
    pub stream: String,
    /// The epoch of its last record, hexadecimal.
    pub epoch: String,
    /// The offset it begins at here.
    pub from: u64,
    /// The offset after its last one.
    pub next: u64,
    /// The stream hash there, hexadecimal.
    pub hash: String,
}

/// Findings that are listed; more would not tell more.
const LISTED_MAX: usize = 1_000;

impl Inspection {
    /// Opens the journal in `data` without changing it.
    ///
    /// # Errors
    /// See [`StartError`]; above all, when the node runs.
    pub fn open(data: &Path, config: &Config) -> Result<Self, StartError> {
        let made = lanes_made(data, config)?.ok_or_else(|| StartError::NoNode(data.into()))?;
        let Layout { settings, journal, shape } = Layout::of(data, config, &made)?;
        let media = Overlay::open(data, shape).map_err(StartError::Media)?;
        let random = || entropy::number().map_err(StartError::Entropy);
        let boot = BootId::new(entropy::boot_id().map_err(StartError::Entropy)?);
        let fresh = Fresh {
            log: LogId::new(random()?),
            epoch: Epoch::new(random()?),
            boot,
            first_commit: CommitNo::new(1),
        };
        let parts = Parts::<Heap>::new(shape.slots, STREAMS_MAX, journal.commit_max as usize);
        let (journal, recovery) = Journal::open(media, journal, parts, fresh)
            .map_err(|error| StartError::Journal(data.into(), error))?;
        let lanes = settings.lanes.iter().map(|lane| lane.name.clone()).collect();
        Ok(Self { site: settings.site, lanes, journal, recovery })
    }

    /// The journal as it was found. Its last opening is that of this look, which nothing keeps.
    #[cfg(feature = "torture")]
    pub fn journal(&self) -> &Journal<Overlay, Heap> {
        &self.journal
    }

    /// Checks everything.
    ///
    /// # Errors
    /// The disk refused to read; not all was checked.
    pub fn verify(&self) -> Result<Report, MediaError> {
        let mut tips = HubFrontier::new(STREAMS_MAX);
        let mut buffer = vec![0; ENTRY_BYTES_MAX];
        let (mut failed, mut told) = (Vec::new(), Vec::new());
        self.journal.verify(&mut tips, &mut buffer, &mut |finding| {
            let list = if is_told(finding.fault) { &mut told } else { &mut failed };
            if list.len() < LISTED_MAX {
                list.push(self.found(finding));
            }
        })?;
        Ok(Report {
            site: self.site.clone(),
            ok: failed.is_empty(),
            failed,
            told,
            lanes: self.lane_reports(),
            branches: branch_reports(&tips),
            closed: self.recovery.clean,
            torn_bytes: self.recovery.torn.map_or(0, |torn| torn.bytes),
        })
    }

    fn found(&self, finding: Finding) -> Found {
        Found {
            lane: self.lane_name(finding.lane),
            segment: finding.segment.get(),
            at: finding.at,
            what: self.what(finding.fault),
        }
    }

    fn lane_name(&self, lane: Lane) -> String {
        let named = self.lanes.get(usize::from(lane.get())).cloned();
        named.unwrap_or_else(|| {
            if lane == Lane::CONTROL { "control".into() } else { "internal".into() }
        })
    }

    fn what(&self, fault: Fault) -> String {
        match fault {
            Fault::Body => "an entry is damaged: its checksum does not fit, or the disk can't \
                            read it; its records are missing, which is stated when they are sent"
                .into(),
            Fault::TooLong(bytes) => format!("an entry says that it has {bytes} bytes"),
            Fault::Missing(from, to, _) => {
                format!("the seqs {from} to {} are missing", to.get().saturating_sub(1))
            }
            Fault::Batch(fault) => {
                format!("a body does not hold what its hash or form says: {fault}")
            }
            Fault::Gap(from, to, _) => {
                format!("the offsets {from} to {} are missing", to.get().saturating_sub(1))
            }
            Fault::Stream => "a batch goes on from nothing that is before it".into(),
            Fault::Footer => {
                "a segment's footer does not tell what the segment holds, or can't be made out; \
                 the segment is read instead"
                    .into()
            }
            Fault::Header => {
                "one of the two headers of a segment is damaged; the other one serves".into()
            }
            Fault::Trailer => {
                "the end of a commit is damaged; nothing is missing by that, as later commits stand"
                    .into()
            }
            Fault::Stray => {
                "an entry without records can't be made out; what it told is known from the rest"
                    .into()
            }
            Fault::Tip(ix) => format!(
                "the records of stream {} end elsewhere than the journal says",
                self.journal.frontier().name(ix)
            ),
            other => format!("{other:?}"),
        }
    }

    fn lane_reports(&self) -> Vec<LaneReport> {
        let lanes = (0..self.journal.lanes()).map(Lane::new);
        let report = |lane| {
            let (first, next) = self.journal.seqs(lane);
            LaneReport {
                name: self.lane_name(lane),
                first_seq: first.get(),
                next_seq: next.get(),
                used_bytes: self.journal.usage(lane).0,
            }
        };
        lanes.map(report).collect()
    }
}

/// Whether the losses tell of it already, so that it is known and not new damage.
fn is_told(fault: Fault) -> bool {
    matches!(fault, Fault::Missing(.., true) | Fault::Gap(.., true))
}

fn branch_reports(tips: &HubFrontier) -> Vec<BranchReport> {
    let streams = (0..tips.streams()).map(StreamIx);
    let of = |ix: StreamIx| tips.branches(ix).map(move |(_, branch)| (ix, branch));
    let report = |(ix, branch): (StreamIx, landfall_core::frontier::Branch)| BranchReport {
        stream: tips.name(ix).to_string(),
        epoch: branch.tip.epoch.to_string(),
        from: branch.from.get(),
        next: branch.tip.next.get(),
        hash: branch.tip.hash.map(|hash| hash.to_string()).unwrap_or_default(),
    };
    let mut reports: Vec<_> = streams.flat_map(of).map(report).collect();
    reports.sort();
    reports
}
