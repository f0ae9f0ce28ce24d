//! Alarms: what a person should know, with what it is about and what to do.

use std::collections::VecDeque;

use landfall_core::frontier::{BranchIx, Frontier, Point, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::media::Media;
use landfall_core::num::{Lane, Offset, Seq, Timestamp};
use landfall_core::tables::Loss;

use super::{Core, Event, Gate};

/// What happened.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum AlarmKind {
    /// Something stored here was lost.
    Loss,
    /// A peer stated that records are missing for good.
    Gap,
    /// A stream has two continuations.
    Fork,
    /// This node lost records that it had synced, or is an old image of itself.
    TailLost,
    /// Two nodes write as one site.
    Copy,
    /// A node does not have what it promised to have.
    PromiseLacking,
    /// A peer broke a rule or overstepped its rights.
    Peer,
    /// A stream can't go on until somebody decides.
    Stalled,
    /// The journal could not be written.
    Journal,
    /// The medium refuses to read.
    Unreadable,
    /// A consumer can't go on, or was given less than there was.
    Consumer,
    /// A view lacks records that were forgotten before it came to them.
    View,
    /// Retries of forgotten producers can't be recognised any more.
    ProducersForgotten,
}

/// Something a person should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Alarm {
    /// What happened.
    pub kind: AlarmKind,
    /// Where: a stream, a site, or a part of the node.
    pub subject: String,
    /// What exactly, and what to do.
    pub text: String,
    /// When it was first raised.
    pub since: Timestamp,
    /// How often it was raised.
    pub times: u64,
}

impl Alarm {
    /// Whether its text begins with the same name as the other's.
    fn names_as(&self, other: &Self) -> bool {
        self.text.split(':').next() == other.text.split(':').next()
    }
}

/// The latest alarms, one for each kind and subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    alarms: VecDeque<Alarm>,
}

/// Alarms that are kept.
const ALARMS_MAX: usize = 256;
/// Of them, those about peers: a stranger may call itself anything, and must not drive out what is
/// wrong here.
const PEER_ALARMS_MAX: usize = 64;

impl Alarms {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Alarm> {
        self.alarms.iter()
    }

    /// Returns whether the alarm is a new one.
    fn raise(&mut self, alarm: &Alarm) -> bool {
        let same = |known: &&mut Alarm| known.kind == alarm.kind && known.subject == alarm.subject;
        if let Some(known) = self.alarms.iter_mut().find(same) {
            known.times += 1;
            let changed = known.text != alarm.text;
            known.text.clone_from(&alarm.text);
            return changed;
        }
        let of_peers = self.alarms.iter().filter(|known| known.kind == AlarmKind::Peer).count();
        if alarm.kind == AlarmKind::Peer && of_peers >= PEER_ALARMS_MAX {
            let oldest = self.alarms.iter().position(|known| known.kind == AlarmKind::Peer);
            oldest.map(|at| self.alarms.remove(at));
        } else if self.alarms.len() == ALARMS_MAX {
            self.alarms.pop_front();
        }
        self.alarms.push_back(alarm.clone());
        true
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// A site has no living copy any more, as far as is known.
    pub(crate) fn end_copy_alarms(&mut self, site: &str) {
        let of_site = |subject: &str| {
            subject.strip_prefix(site).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.alarms
            .alarms
            .retain(|alarm| alarm.kind != AlarmKind::Copy || !of_site(&alarm.subject));
    }

    /// Raises an alarm. The same one is told once and then only counted.
    pub(crate) fn alarm(&mut self, kind: AlarmKind, subject: String, text: String) {
        let alarm = Alarm { kind, subject, text, since: self.arrived_at.wall, times: 1 };
        if self.alarms.raise(&alarm) {
            self.events.push_back(Event::Alarm(alarm));
        }
    }

    /// Raises an alarm that a peer could raise without end: it is told if `told`, or if it is a new
    /// one about somebody who is `known`.
    pub(crate) fn alarm_paced(
        &mut self,
        kind: AlarmKind,
        subject: String,
        text: String,
        told: bool,
        known: bool,
    ) {
        let alarm = Alarm { kind, subject, text, since: self.arrived_at.wall, times: 1 };
        let fresh = !self.alarms.all().any(|other| {
            other.kind == kind && other.subject == alarm.subject && other.names_as(&alarm)
        });
        self.alarms.raise(&alarm);
        if told || fresh && known {
            self.events.push_back(Event::Alarm(alarm));
        }
    }

    /// Raises an alarm for each loss that the journal knows of.
    pub(crate) fn report_losses(&mut self) {
        let losses = self.journal.losses().to_vec();
        for loss in losses {
            let reason = loss.reason.unwrap_or(GapReason::Damage);
            let (subject, text) = match loss.stream {
                Some((ix, _)) => (
                    self.stream_name(ix),
                    format!(
                        "offsets {} to {} are lost here: {reason}. They are stated as a gap.",
                        loss.from, loss.to
                    ),
                ),
                None => (
                    format!("lane {}", loss.lane),
                    format!(
                        "seqs {} to {} are lost here: {reason}, and it can't be told of which \
                         stream. Run landfall verify.",
                        loss.first, loss.end
                    ),
                ),
            };
            self.alarm(AlarmKind::Loss, subject, text);
        }
    }

    /// Records of this node can't be read, and no loss tells why: they were damaged since.
    pub(crate) fn note_missing(
        &mut self,
        lane: Lane,
        (first, end): (Seq, Seq),
        ix: StreamIx,
        from: Offset,
        to: Point,
    ) {
        let kept = self.journal.seqs(lane).0;
        let told = self.journal.losses().iter().any(|loss| {
            loss.stream.is_some_and(|(of, _)| of == ix) && loss.from <= from && from < loss.to
        });
        if told || first == end || first < kept {
            return;
        }
        let stream = Some((ix, BranchIx::MAIN));
        let reason = Some(GapReason::Damage);
        let (to, after) = (to.next, to.hash);
        self.journal.note_loss(Loss { lane, first, end, stream, from, to, after, reason });
        self.report_losses();
    }

    /// The end of a stream can't be read any more; which seqs it had, nothing says.
    pub(crate) fn note_lost_end(&mut self, lane: Lane, ix: StreamIx, from: Offset, tip: Point) {
        let known = |loss: &Loss| {
            loss.stream.is_some_and(|(of, _)| of == ix) && loss.from <= from && tip.next <= loss.to
        };
        if self.journal.losses().iter().any(known) {
            return;
        }
        let (to, after) = (tip.next, tip.hash);
        let (stream, reason) = (Some((ix, BranchIx::MAIN)), Some(GapReason::Damage));
        self.journal.note_loss(Loss { lane, stream, from, to, after, reason, ..Loss::default() });
        self.report_losses();
    }

    /// The printed name of a stream.
    pub(crate) fn stream_name(&self, ix: StreamIx) -> String {
        self.journal.frontier().name(ix).to_string()
    }
}
