//! The bridge's thread: takes over the shards, serves, and begins anew after any fault.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use landfall_core::num::{BootId, CommitNo, Epoch, LogId};

use super::fault::Fault;
use super::frontier_record::FrontierRecord;
use super::group::Group;
use super::known::Known;
use super::line::Line;
use super::owner::{self, Work};
use super::refusals::Refusals;
use super::restored::{OfGroup, Restored};
use super::route::Route;
use super::serving::{Drawn, Serving};
use super::settings::Settings;
use super::shard::Shard;
use super::topics::Topics;
use crate::entropy;

/// The file in the data directory that says which log the group was.
pub const LOG_FILE: &str = "kafka.log";
/// How often it is asked whether shards are this hub's.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Pauses before the shards are taken over again.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// In timeouts of a transaction: how long it is left alone what only a person can change.
const PAUSE_LASTING: u32 = 4;

/// Starts the bridge on a thread of its own; it ends when the line is told to stop. What is
/// returned is disconnected then. `promised` is the last commit of a log that the hub's node was
/// promised, if it was.
///
/// # Errors
/// The thread can't be started.
pub fn start(
    settings: Settings,
    data: &Path,
    line: Arc<Line>,
    promised: impl Fn(LogId) -> Option<CommitNo>,
) -> Result<Receiver<()>, std::io::Error> {
    let (ends, ended) = sync_channel(0);
    let (settings, file) = (Arc::new(settings), data.join(LOG_FILE));
    let refusals = Arc::new(Refusals::new());
    // What can't be read is told when the bridge asks which log it was.
    let known = Known::read(&file).ok().flatten();
    let last = known.as_ref().and_then(|known| Some((known.shards.clone(), promised(known.log)?)));
    let last = Cell::new(last.unwrap_or_default());
    let mapping = RefCell::new(settings.route.clone());
    let bridge = Bridge { settings, file, line, refusals, mapping, last, _ends: ends };
    std::thread::Builder::new().name("kafka".into()).spawn(move || bridge.run())?;
    Ok(ended)
}

struct Bridge {
    settings: Arc<Settings>,
    file: PathBuf,
    line: Arc<Line>,
    refusals: Arc<Refusals>,
    /// How the group maps topics, as far as it is known: what the hub's file says, to begin with.
    mapping: RefCell<Route>,
    /// The shards that were owned last, and the last commit that was promised then.
    last: Cell<(BTreeSet<u32>, CommitNo)>,
    _ends: SyncSender<()>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The hub goes on without it, and must not wait for it in vain.
            let why = "the bridge to Kafka has failed, which is a defect; restart the hub";
            self.line.leave(why);
        }
    }
}

/// What a bridge keeps from one try to the next.
#[derive(Default)]
struct Kept {
    topics: Option<Arc<Topics>>,
    group: Option<Group>,
    /// Whether the last client could not ask Kafka.
    renew: bool,
}

impl Bridge {
    fn run(&self) {
        let mut pause = PAUSE_FIRST;
        let mut kept = Kept::default();
        loop {
            let fault = match self.serve(&mut kept, &mut pause) {
                Ok(()) => return,
                Err(fault) => fault,
            };
            if let (Fault::Refused { topic, why }, Some(topics)) = (&fault, &kept.topics) {
                topics.refuse(topic, why);
            }
            // Somebody else than before must ask to be let in.
            if let Fault::Group(_) | Fault::Denied(_) = fault {
                kept.group = None;
            }
            kept.renew = matches!(fault, Fault::Denied(_) | Fault::Kafka(_));
            self.tell(&fault);
            if self.line.rest(self.rest_after(&fault, pause)) {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn tell(&self, fault: &Fault) {
        let why = fault.to_string();
        match fault {
            Fault::Moved | Fault::Mapped => tracing::info!("{why}"),
            _ if fault.is_lasting() => tracing::error!("{why}"),
            _ => tracing::warn!("{why}; the hub begins anew with what is in Kafka"),
        }
        self.line.leave(&why);
    }

    fn rest_after(&self, fault: &Fault, pause: Duration) -> Duration {
        match fault {
            // What is refused is looked for at once: nobody else has to change anything.
            Fault::Record(_) | Fault::Moved | Fault::Mapped => Duration::ZERO,
            _ if fault.is_lasting() => self.settings.transaction_timeout * PAUSE_LASTING,
            _ => pause,
        }
    }

    /// Takes over the shards that are this hub's and serves until the process ends.
    fn serve(&self, kept: &mut Kept, pause: &mut Duration) -> Result<(), Fault> {
        let drawn = draw()?;
        let topics = match &kept.topics {
            Some(topics) => {
                if kept.renew {
                    topics.renew()?;
                }
                topics.clone()
            }
            None => kept.topics.insert(Arc::new(Topics::new(self.settings.clone())?)).clone(),
        };
        topics.open_frontier()?;
        // What could not be written may be by now.
        topics.forget_refused();
        let group = match &kept.group {
            Some(group) => group,
            None => kept.group.insert(Group::join(&self.settings)?),
        };
        let Some(owned) = self.assigned(group)? else { return Ok(()) };
        let settings = self.settings_of_group();
        let shared = (&topics, &self.refusals);
        let take_over = |number: &u32| {
            Ok((*number, Shard::take_over(&settings, shared, *number, drawn.epoch)?))
        };
        let shards = owned.iter().map(take_over).collect::<Result<BTreeMap<_, _>, Fault>>()?;
        let mut restored = Restored::default();
        let mut openings = BTreeMap::new();
        // Whoever has them now may wait for this hub in turn.
        let look = || if group.shards()? == owned { Ok(()) } else { Err(Fault::Moved) };
        for (number, shard) in &shards {
            let opened = shard.opened(look)?;
            openings.insert(*number, opened.opened_at);
            restored.add(opened);
        }
        let log = self.log(&shards, &restored)?;
        self.keep(log, &owned)?;
        self.go_on_from(&mut restored, owned);
        let streams = !restored.is_empty();
        let told = (settings, topics, self.refusals.clone());
        let mut serving = Serving::new(told, shards, self.line.clone(), (log, restored), drawn)?;
        tracing::info!(shards = ?openings.keys(), streams, "Kafka is reached");
        *pause = PAUSE_FIRST;
        self.line.come(openings);
        let ended = serving.run(group);
        let (owned, _) = self.last.take();
        self.last.set((owned, serving.last_commit()));
        ended
    }

    /// Waits until shards are this hub's; none if the process ends.
    fn assigned(&self, group: &Group) -> Result<Option<BTreeSet<u32>>, Fault> {
        loop {
            let owned = group.shards()?;
            if !owned.is_empty() {
                return Ok(Some(owned));
            }
            self.line.wait_for("the group of hubs to give this one shards");
            if self.line.rest(ASK_EVERY) {
                return Ok(None);
            }
        }
    }

    /// Where other shards were owned, numbers of commits may have been promised that are in none
    /// of these; that is no sign that Kafka lost something.
    fn go_on_from(&self, restored: &mut Restored, owned: BTreeSet<u32>) {
        let (shards, promised) = self.last.take();
        if shards != owned {
            restored.commit = restored.commit.max(promised);
        }
        self.last.set((owned, restored.commit));
    }

    /// The log that the group is to the nodes below: what the frontier topic says, or a new one if
    /// nobody has been promised anything. Whoever owns the first shard begins it.
    fn log(&self, shards: &BTreeMap<u32, Shard>, restored: &Restored) -> Result<LogId, Fault> {
        let known = Known::read(&self.file).map_err(|error| {
            self.another_log(&format!("{} can't be read ({error})", self.file.display()))
        })?;
        let first = shards.get(&0);
        let read = match first {
            Some(_) => None,
            None => Some(owner::read_group(&self.settings)?),
        };
        let OfGroup { log, mapping } = read.as_ref().unwrap_or(&restored.group);
        if let Some((log, shards)) = *log {
            if known.is_some_and(|known| known.log != log) {
                let told = format!("{:016x}", log.get());
                return Err(self.another_log(&format!("it is of another log, {told}")));
            }
            if shards != self.settings.shards {
                return Err(Fault::Frontier(format!(
                    "it was made for {shards} shards, and `kafka.shards` says {}; shards are given \
                     once and for ever. Put the old number back",
                    self.settings.shards
                )));
            }
            self.agree(mapping.as_deref(), first)?;
            return Ok(log);
        }
        if known.is_some() || !restored.is_empty() || restored.commit > CommitNo::ZERO {
            return Err(self.another_log("it does not say which log it is"));
        }
        let Some(first) = first else {
            return Err(Fault::Kafka("the hub that owns shard 0 has not begun the log yet".into()));
        };
        let log = LogId::new(entropy::number().map_err(|error| Fault::Kafka(error.to_string()))?);
        let group = FrontierRecord::Group { log, shards: self.settings.shards }.encode();
        first.begin(Work { entries: Vec::new(), frontier: vec![group] })?;
        first.committed()?;
        tracing::info!(log = format!("{:016x}", log.get()), "a new log in Kafka");
        self.agree(None, Some(first))?;
        Ok(log)
    }

    /// Maps topics as the group does, or says how it does so if nobody has yet. A hub whose file
    /// says nothing of topics does what the others do.
    fn agree(&self, told: Option<&str>, first: Option<&Shard>) -> Result<(), Fault> {
        let own = &self.settings.route;
        let Some(told) = told else {
            let Some(first) = first else {
                let text = "the hub that owns shard 0 has not said yet how topics are mapped";
                return Err(Fault::Kafka(text.into()));
            };
            self.mapping.replace(own.clone());
            return say_mapping(first, own);
        };
        let group = Route::from_text(told);
        let group = group.map_err(|bad| {
            Fault::Frontier(format!("how the group maps topics can't be understood: {bad}"))
        })?;
        if group == *self.mapping.borrow() {
            return Ok(());
        }
        if !own.is_usual() && group != *own {
            return Err(Fault::Mapping { own: own.text(), group: told.to_owned() });
        }
        self.mapping.replace(group);
        Err(Fault::Mapped)
    }

    /// What the hub was told, but with the mapping of its group.
    fn settings_of_group(&self) -> Arc<Settings> {
        let route = self.mapping.borrow().clone();
        Arc::new(self.settings.with(route))
    }

    /// Notes which log the group is, to notice if it is another one day, and what is owned of it.
    fn keep(&self, log: LogId, owned: &BTreeSet<u32>) -> Result<(), Fault> {
        Known { log, shards: owned.clone() }
            .write(&self.file)
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

/// Says how the hubs of the group map topics, as the owner of the first shard.
pub(super) fn say_mapping(first: &Shard, route: &Route) -> Result<(), Fault> {
    let record = FrontierRecord::Mapping(&route.text()).encode();
    first.begin(Work { entries: Vec::new(), frontier: vec![record] })?;
    first.committed().map(|_| ())
}

fn draw() -> Result<Drawn, Fault> {
    let drawn = || {
        let (seed, epoch) = (entropy::number()?, Epoch::new(entropy::number()?));
        Ok(Drawn { seed, boot: BootId::new(entropy::boot_id()?), epoch })
    };
    drawn().map_err(|error: entropy::NoEntropy| Fault::Kafka(error.to_string()))
}
