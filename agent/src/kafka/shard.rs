//! The owner of a shard: a thread with its transactional producer.
//!
//! It fences whoever owned the shard before it, reads how far the shard is, and then commits what
//! it is given, one transaction at a time. Calls into Kafka block, and may hang; so nobody waits
//! for the thread, only for its word, and only for so long. What hangs is left to itself: when it
//! comes back it finds that nobody listens, and ends.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use landfall_core::num::Epoch;

use super::fault::Fault;
use super::owner::{Owner, Work};
use super::refusals::{Aside, Refusals};
use super::restored::Restored;
use super::settings::Settings;
use super::topics::Topics;

/// How long a shard may take to be owned: the last owner's transaction must end, and its partition
/// of the frontier topic be read, whatever its size.
const OPEN_MAX: Duration = Duration::from_secs(120);
/// How much longer than its timeout a transaction may take until it is given up.
const COMMIT_GRACE: Duration = Duration::from_secs(15);
/// How often it is asked, while a shard's thread is waited for, whether it still is to be.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a client that has nothing to do looks after its connections.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// A shard that this hub owns, or is about to.
#[derive(Debug)]
pub(super) struct Shard {
    number: u32,
    tasks: SyncSender<Work>,
    words: Receiver<Result<Word, Fault>>,
    commit_max: Duration,
}

/// What an owner says.
#[derive(Debug)]
enum Word {
    /// It owns the shard, which is so far.
    Opened(Restored),
    /// The transaction is committed, with dead letters for these.
    Committed(Vec<Aside>),
}

impl Shard {
    /// Begins to take over a shard, under an epoch drawn for it.
    pub(super) fn take_over(
        settings: &Arc<Settings>,
        (topics, refusals): (&Arc<Topics>, &Arc<Refusals>),
        number: u32,
        epoch: Epoch,
    ) -> Result<Self, Fault> {
        let (tasks, taken) = sync_channel(1);
        let (tell, words) = sync_channel(1);
        let settings = settings.clone();
        let shared = (topics.clone(), refusals.clone());
        let commit_max = settings.transaction_timeout + COMMIT_GRACE;
        let own = move || own(Owner::open(settings, shared, number, epoch), &taken, &tell);
        let thread = std::thread::Builder::new().name(format!("kafka-{number}")).spawn(own);
        thread.map_err(|error| Fault::Kafka(format!("a thread can't be started: {error}")))?;
        Ok(Self { number, tasks, words, commit_max })
    }

    /// How far the shard is, once it is owned. Meanwhile `look` is asked now and then whether it is
    /// still to be.
    pub(super) fn opened(&self, look: impl Fn() -> Result<(), Fault>) -> Result<Restored, Fault> {
        match self.word(OPEN_MAX, "to be taken over", look)? {
            Word::Opened(restored) => Ok(restored),
            Word::Committed(_) => Err(Fault::Broken("a shard committed before it was owned")),
        }
    }

    /// Begins a transaction.
    pub(super) fn begin(&self, work: Work) -> Result<(), Fault> {
        // There is room: one transaction goes on at a time, and its outcome is waited for.
        let begun = self.tasks.try_send(work);
        begun.map_err(|_| Fault::Broken("a shard was given a transaction too many"))
    }

    /// Returns when the transaction is committed: for what it holds dead letters.
    pub(super) fn committed(&self) -> Result<Vec<Aside>, Fault> {
        match self.word(self.commit_max, "to commit", || Ok(()))? {
            Word::Committed(letters) => Ok(letters),
            Word::Opened(_) => Err(Fault::Broken("a shard was taken over twice")),
        }
    }

    /// What the owner found wrong while it had nothing to do, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.words.try_recv().ok().and_then(Result::err)
    }

    fn word(
        &self,
        patience: Duration,
        doing: &str,
        look: impl Fn() -> Result<(), Fault>,
    ) -> Result<Word, Fault> {
        for _ in 0..patience.as_millis().div_ceil(LOOK_EVERY.as_millis()) {
            match self.words.recv_timeout(LOOK_EVERY) {
                Ok(word) => return word,
                Err(RecvTimeoutError::Timeout) => look()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::Broken("a shard's thread ended"));
                }
            }
        }
        let (number, seconds) = (self.number, patience.as_secs());
        Err(Fault::Kafka(format!("Kafka took more than {seconds} s for shard {number} {doing}")))
    }
}

/// The thread of an owner.
fn own(
    opened: Result<(Owner, Restored), Fault>,
    tasks: &Receiver<Work>,
    tell: &SyncSender<Result<Word, Fault>>,
) {
    let (owner, restored) = match opened {
        Ok(opened) => opened,
        Err(fault) => {
            // Nobody may be there to hear it.
            let _ = tell.send(Err(fault));
            return;
        }
    };
    if tell.send(Ok(Word::Opened(restored))).is_err() {
        return;
    }
    loop {
        let outcome = match tasks.recv_timeout(TEND_EVERY) {
            Ok(work) => owner.commit(&work).map(Word::Committed),
            Err(RecvTimeoutError::Timeout) => match owner.tend() {
                Ok(()) => continue,
                Err(fault) => Err(fault),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let failed = outcome.is_err();
        // After a fault the producer is of no use: what it did is in doubt.
        if tell.send(outcome).is_err() || failed {
            return;
        }
    }
}
