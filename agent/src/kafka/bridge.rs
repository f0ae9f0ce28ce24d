//! The bridge's thread: takes over the shards, serves, and begins anew after any fault.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use landfall_core::num::{BootId, CommitNo, Epoch, LogId};

use super::fault::Fault;
use super::frontier_record::FrontierRecord;
use super::line::{Line, Said};
use super::owner::Work;
use super::refusals::Refusals;
use super::restored::Restored;
use super::serving::{Drawn, Serving};
use super::settings::Settings;
use super::shard::Shard;
use super::topics::Topics;
use crate::entropy;
use crate::whole_file::write_whole;

/// The file in the data directory that says which log the group was.
pub const LOG_FILE: &str = "kafka.log";

/// Pauses before the shards are taken over again.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// In timeouts of a transaction: by then whoever took a shard over has had it for a while.
const PAUSE_LASTING: u32 = 4;

/// Starts the bridge on a thread of its own; it ends when the line is told to stop. What is
/// returned is disconnected then.
///
/// # Errors
/// The thread can't be started.
pub fn start(
    settings: Settings,
    data: &Path,
    line: Arc<Line>,
) -> Result<Receiver<()>, std::io::Error> {
    let (ends, ended) = sync_channel(0);
    let (settings, file) = (Arc::new(settings), data.join(LOG_FILE));
    let refusals = Arc::new(Refusals::new());
    let bridge = Bridge { settings, file, line, refusals, _ends: ends };
    std::thread::Builder::new().name("kafka".into()).spawn(move || bridge.run())?;
    Ok(ended)
}

struct Bridge {
    settings: Arc<Settings>,
    file: PathBuf,
    line: Arc<Line>,
    refusals: Arc<Refusals>,
    _ends: SyncSender<()>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The hub goes on without it, and must not wait for it in vain.
            let why = "the bridge to Kafka has failed, which is a defect; restart the hub";
            self.line.set_waits(Some(why.into()));
            self.line.tell(Said::Closed(why.into()));
        }
    }
}

impl Bridge {
    fn run(&self) {
        let mut pause = PAUSE_FIRST;
        let mut topics = None;
        loop {
            let fault = match self.serve(&mut topics, &mut pause) {
                Ok(()) => return,
                Err(fault) => fault,
            };
            if let (Fault::Refused { topic, why }, Some(topics)) = (&fault, &topics) {
                topics.refuse(topic, why);
            }
            let why = fault.to_string();
            if fault.is_lasting() {
                tracing::error!("{why}");
            } else {
                tracing::warn!("{why}; the hub begins anew with what is in Kafka");
            }
            self.line.set_waits(Some(why.clone()));
            // It may be over already.
            self.line.tell(Said::Closed(why));
            let lasting = self.settings.transaction_timeout * PAUSE_LASTING;
            // What is refused is looked for at once: nobody else has to change anything.
            let looks = matches!(fault, Fault::Record(_));
            let rest = if fault.is_lasting() { lasting } else { pause };
            if self.line.rest(if looks { Duration::ZERO } else { rest }) {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Takes over the shards and serves until the process ends.
    fn serve(&self, topics: &mut Option<Arc<Topics>>, pause: &mut Duration) -> Result<(), Fault> {
        let drawn = draw()?;
        let topics = match topics {
            Some(topics) => topics.clone(),
            None => topics.insert(Arc::new(Topics::new(self.settings.clone())?)).clone(),
        };
        topics.open_frontier()?;
        let shared = (&topics, &self.refusals);
        let take_over = |number| Shard::take_over(&self.settings, shared, number, drawn.epoch);
        let shards = (0..self.settings.shards).map(take_over).collect::<Result<Vec<_>, _>>()?;
        let mut restored = Restored::default();
        for shard in &shards {
            restored.add(shard.opened()?);
        }
        let log = self.log(&shards, &restored)?;
        let streams = !restored.is_empty();
        let told = (self.settings.clone(), topics, self.refusals.clone());
        let mut serving = Serving::new(told, shards, self.line.clone(), (log, restored), drawn)?;
        tracing::info!(shards = self.settings.shards, streams, "Kafka is reached");
        *pause = PAUSE_FIRST;
        self.line.set_waits(None);
        self.line.tell(Said::Ready);
        serving.run()
    }

    /// The log that the group is to the nodes below: what the frontier topic says, or a new one if
    /// nobody has been promised anything.
    fn log(&self, shards: &[Shard], restored: &Restored) -> Result<LogId, Fault> {
        let known = std::fs::read_to_string(&self.file).ok();
        let known = known.map(|text| text.trim().to_owned());
        if let Some((log, shards)) = restored.group {
            let told = format!("{:016x}", log.get());
            if known.as_ref().is_some_and(|known| *known != told) {
                return Err(self.another_log(&format!("it is of another log, {told}")));
            }
            if shards != self.settings.shards {
                return Err(Fault::Frontier(format!(
                    "it was made for {shards} shards, and `kafka.shards` says {}; shards are given \
                     once and for ever. Put the old number back",
                    self.settings.shards
                )));
            }
            self.keep(&told)?;
            return Ok(log);
        }
        if known.is_some() || !restored.is_empty() || restored.commit > CommitNo::ZERO {
            return Err(self.another_log("it does not say which log it is"));
        }
        let log = LogId::new(entropy::number().map_err(|error| Fault::Kafka(error.to_string()))?);
        let group = FrontierRecord::Group { log, shards: self.settings.shards }.encode();
        let first = shards.first().ok_or(Fault::Broken("there is no shard"))?;
        first.begin(Work { entries: Vec::new(), frontier: vec![group] })?;
        first.committed()?;
        tracing::info!(log = format!("{:016x}", log.get()), "a new log in Kafka");
        self.keep(&format!("{:016x}", log.get()))?;
        Ok(log)
    }

    /// Notes which log the group is, to notice if it is another one day.
    fn keep(&self, log: &str) -> Result<(), Fault> {
        let text = format!("{log}\n");
        write_whole(&self.file, text.as_bytes(), 0o644)
            .map_err(|error| Fault::Kafka(format!("cannot write {}: {error}", self.file.display())))
    }

    fn another_log(&self, what: &str) -> Fault {
        Fault::Frontier(format!(
            "{what}, but sites were promised that their records are in it. Records that were \
             promised may be gone, or the cluster, `kafka.group` or `kafka.frontier_topic` is \
             another. Put the old one back; or read it back from the records by `landfall kafka \
             rebuild`; or remove {} to begin anew, which writes again all that the sites still \
             keep",
            self.file.display()
        ))
    }
}

fn draw() -> Result<Drawn, Fault> {
    let drawn = || {
        let (seed, epoch) = (entropy::number()?, Epoch::new(entropy::number()?));
        Ok(Drawn { seed, boot: BootId::new(entropy::boot_id()?), epoch })
    };
    drawn().map_err(|error: entropy::NoEntropy| Fault::Kafka(error.to_string()))
}
