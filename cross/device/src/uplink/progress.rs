//! How far a stream was sent in this session, and which promises may be about what was sent.

use landfall_core::hash::StreamHash;
use landfall_core::num::{Epoch, Offset};

/// What was sent of a stream since the session began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The offset behind what was sent, or was durable at the root before.
    pub(crate) next: Offset,
    /// What was durable at the root when the session began.
    pub(crate) root: Offset,
    /// Whether the gateway has been told where the stream begins.
    pub(crate) begun: bool,
    /// Whether the gateway refuses the stream in this session.
    pub(crate) refused: bool,
    /// The last epochs that were sent, and the offsets of each.
    runs: [Option<Run>; 2],
}

/// Offsets of one epoch that were sent.
#[derive(Clone, Copy, Debug)]
struct Run {
    epoch: Epoch,
    from: Offset,
    to: Offset,
    /// The stream hash at `to`.
    hash: StreamHash,
}

impl Progress {
    /// Nothing was sent yet of a stream that is durable at the root below `root`.
    pub(crate) const fn new(root: Offset) -> Self {
        Self { next: root, root, begun: false, refused: false, runs: [None; 2] }
    }

    /// Records of an epoch were sent, or are told of as the end of the stream.
    pub(crate) fn sent(&mut self, epoch: Epoch, from: Offset, to: Offset, hash: StreamHash) {
        let [_, last] = &mut self.runs;
        match last {
            Some(run) if run.epoch == epoch => {
                run.from = run.from.min(from);
                if to >= run.to {
                    (run.to, run.hash) = (to, hash);
                }
            }
            _ => {
                self.runs.rotate_left(1);
                let [_, last] = &mut self.runs;
                *last = Some(Run { epoch, from, to, hash });
            }
        }
    }

    /// Whether a promise can be about this device's records, and not about what another copy of it
    /// wrote under another epoch.
    pub(crate) fn covers(&self, epoch: Epoch, next: Offset, hash: Option<StreamHash>) -> bool {
        self.runs.iter().flatten().any(|run| {
            let within = run.epoch == epoch && run.from < next && next <= run.to;
            // A later promise comes for what is not at the end; there the hash must fit too.
            within && (next < run.to || hash.is_none_or(|hash| hash == run.hash))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_taken_only_for_what_was_sent_in_this_session() {
        let (at, hash) = (Offset::new, StreamHash::new([7; 16]));
        let mut progress = Progress::new(at(10));
        progress.sent(Epoch::new(1), at(10), at(20), StreamHash::START);
        progress.sent(Epoch::new(2), at(20), at(30), hash);
        let covers = |epoch, next, hash| progress.covers(Epoch::new(epoch), at(next), hash);
        assert!(covers(1, 20, Some(StreamHash::START)) && covers(2, 25, None));
        assert!(covers(2, 30, Some(hash)) && covers(2, 30, None));
        assert!(!covers(3, 25, None), "another copy of this device wrote under epoch 3");
        assert!(!covers(2, 31, None), "nobody sent that");
        assert!(!covers(2, 20, None) && !covers(1, 25, None), "another epoch wrote there");
        assert!(!covers(2, 30, Some(StreamHash::START)), "it ends otherwise");
    }
}
