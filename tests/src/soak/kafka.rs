//! The soak with a Kafka behind the hub, or behind several that share its shards, each with a ship:
//! hubs, broker and ships are killed at random while records come, commits are lost on their way to
//! the broker, and so are answers to them.
//!
//! ```text
//! producers ─▶ ship ──relay──▶ hub ──proxy──▶ broker
//!                 ▲             ▲ │    ▲         ▲
//!                 └── SIGKILL ──┤ │    │         │
//!                   away, frozen┘ │    └ commits lost, or not answered
//!                                 └ to the hub that has the ship's shard
//! ```
//!
//! The check is a census: of what is committed, each record that was acknowledged once, and nothing
//! else; of what is not, that aborted records were really there.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall::api::{LinkState, Status};
use landfall::clock;
use landfall::kafka::birth;
use landfall_simulation::rng::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::check::{LISTED_MAX, Shelves};
use super::ledger::Ledger;
use super::pair::{Pair, Side};
use super::producer::{PRODUCERS, produce};
use super::tally::Tally;
use super::{Options, SoakError};
use crate::broker::Broker;
use crate::census::{Isolation, Seen, census, is_whole};
use crate::kafka_proxy::{Commits, KafkaProxy};
use crate::process::{pause, until};
use crate::walk::Visit;

/// Hubs at most.
pub const HUBS_MAX: usize = 2;
/// Hubs, and the ship of each.
const NAMES: [[&str; 2]; HUBS_MAX] = [["hub-1", "ship-1"], ["hub-2", "ship-2"]];
/// Blows after which all must be seen to go on.
const BLOWS_PER_CALM: u64 = 12;
/// How long a hub is away so that the others get its shards: longer than the group keeps its place.
const AWAY: Duration = Duration::from_secs(12);
/// How long a commit to be hit is waited for.
const HIT_MAX: Duration = Duration::from_millis(1_500);

/// What happened in a soak, and what was found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KafkaTally {
    /// SIGKILLs of hubs, the broker and ships.
    pub kills: [u64; 3],
    /// Times a hub was frozen, or down, for so long that another got its shards.
    pub away: u64,
    /// Commits that did not arrive, and commits whose answer did not.
    pub hit: [u64; 2],
    /// Times all was seen to go on.
    pub calms: u64,
    /// Records that producers were told to be durable.
    pub acknowledged: u64,
    /// Records that are committed in Kafka.
    pub committed: u64,
    /// Those of them that came through more than one hub.
    pub forwarded: u64,
    /// Records besides that were there and were aborted.
    pub aborted: u64,
    /// Seconds that it took.
    pub seconds: u64,
}

/// What is killed and hit, and what has happened to it.
struct Rig {
    rng: Rng,
    broker: Broker,
    proxy: KafkaProxy,
    pairs: Vec<Pair>,
    tally: KafkaTally,
}

/// Kills, lets everything settle, and takes the census, in a folder that is new, with so many hubs.
///
/// # Errors
/// See [`SoakError`].
pub async fn run(options: &Options, hubs: usize) -> Result<KafkaTally, SoakError> {
    let started = clock::monotonic();
    std::fs::create_dir_all(&options.dir)?;
    let ledger = Arc::new(Mutex::new(Ledger::open(&options.dir)?));
    let mut rig = Rig::start(options, hubs).await?;
    let (stop, stopped) = watch::channel(false);
    let mut producers = JoinSet::new();
    for who in 0..PRODUCERS.len() {
        let client = rig.pairs[who % hubs].ship.client();
        let (ledger, stopped) = (ledger.clone(), stopped.clone());
        producers.spawn(produce(who, client, ledger, options.seed, stopped));
    }
    let struck = rig.strike(options).await;
    stop.send_replace(true);
    while let Some(done) = producers.join_next().await {
        done.map_err(io::Error::other)?.map_err(|line| SoakError::Violation(vec![line]))?;
    }
    struck?;
    rig.settle().await?;
    let ledger = ledger.lock().map_err(|_| io::Error::other("a producer panicked"))?;
    rig.tally.acknowledged = ledger.acknowledged();
    rig.count(&ledger)?;
    rig.tally.seconds = clock::monotonic().ms_since(started) / 1_000;
    Ok(rig.tally)
}

impl Rig {
    async fn start(options: &Options, hubs: usize) -> io::Result<Self> {
        let proxy = KafkaProxy::start().await?;
        let broker = Broker::start_behind(&options.dir, proxy.address()).await?;
        proxy.lead_to(broker.proxied().ok_or_else(|| io::Error::other("no listener"))?);
        let settings = broker.settings_at(proxy.address());
        let mut pairs = Vec::new();
        for names in &NAMES[..hubs] {
            let mut ports = Tally::default();
            let pair = Pair::open(&options.dir, *names, &mut ports, options.seed, &settings);
            pairs.push(pair.await?);
        }
        let (rng, tally) = (Rng::new(options.seed), KafkaTally::default());
        Ok(Self { rng, broker, proxy, pairs, tally })
    }

    async fn strike(&mut self, options: &Options) -> Result<(), SoakError> {
        let started = clock::monotonic();
        self.calm().await?;
        let mut blows = 0;
        loop {
            let kills: u64 = self.tally.kills.iter().sum();
            let late = clock::monotonic().ms_since(started)
                > options.minutes.map_or(u64::MAX, |minutes| minutes * 60_000);
            if kills >= options.kills || late {
                return Ok(());
            }
            let longest = *self.rng.pick(&[50, 300, 1_500]);
            let wait = Duration::from_millis(self.rng.below(longest));
            pause(wait).await;
            self.blow().await?;
            blows += 1;
            if blows % BLOWS_PER_CALM == 0 {
                self.calm().await?;
                if options.verbose {
                    let kills: u64 = self.tally.kills.iter().sum();
                    println!("{kills} of {} kills, and all goes on", options.kills);
                }
            }
        }
    }

    /// Often commits are hit, and then a hub is killed, or nobody is, or the broker is.
    async fn blow(&mut self) -> io::Result<()> {
        match self.rng.below(100) {
            0..30 => self.hit(Commits::Lost).await,
            30..60 => self.hit(Commits::Unanswered).await,
            _ => {}
        }
        let at = self.rng.below(self.pairs.len() as u64) as usize;
        let done = match self.rng.below(100) {
            0..40 => self.kill_node(at, &[Side::Hub], Duration::ZERO).await,
            40..60 => self.kill_node(at, &[Side::Ship], Duration::ZERO).await,
            60..70 => self.kill_node(at, &[Side::Hub, Side::Ship], Duration::ZERO).await,
            70..85 => {
                self.tally.kills[1] += 1;
                self.broker.kill().await?;
                self.broker.restart().await
            }
            85..90 if self.pairs.len() > 1 => self.freeze(at).await,
            90..95 if self.pairs.len() > 1 => {
                self.tally.away += 1;
                self.kill_node(at, &[Side::Hub], AWAY).await
            }
            _ => Ok(()),
        };
        self.proxy.set_commits(Commits::Pass);
        done
    }

    /// Lets something happen to a commit, if one comes.
    async fn hit(&mut self, what: Commits) {
        let before = self.proxy.hit();
        self.proxy.set_commits(what);
        let hit = until("a commit is hit", async || (self.proxy.hit() > before).then_some(()));
        // None may come: the hub may be taking over its shards.
        let _ = tokio::time::timeout(HIT_MAX, hit).await;
        let at = usize::from(what == Commits::Unanswered);
        self.tally.hit[at] += self.proxy.hit() - before;
    }

    /// Kills nodes of a pair, and starts them again after so long.
    async fn kill_node(&mut self, at: usize, sides: &[Side], after: Duration) -> io::Result<()> {
        for side in sides {
            self.pairs[at].kill(*side).await?;
            self.tally.kills[if *side == Side::Hub { 0 } else { 2 }] += 1;
        }
        pause(after).await;
        sides.iter().try_for_each(|side| self.pairs[at].start(*side))
    }

    /// Lets a hub do nothing for so long that others get its shards, which it does not know when it
    /// goes on.
    async fn freeze(&mut self, at: usize) -> io::Result<()> {
        self.tally.away += 1;
        let hub = self.pairs[at].running(Side::Hub)?;
        hub.freeze()?;
        pause(AWAY).await;
        hub.thaw()
    }

    /// All run, and what is appended becomes durable at the root.
    async fn calm(&mut self) -> io::Result<()> {
        self.tally.calms += 1;
        let durable = |status: Status| -> u64 {
            status.lanes.iter().map(|lane| lane.next_seq - lane.behind_records).sum()
        };
        for pair in &mut self.pairs {
            pair.running(Side::Hub)?.up().await?;
        }
        for pair in &mut self.pairs {
            let ship = pair.running(Side::Ship)?;
            let before = durable(ship.up().await?);
            let goes_on = |status| (durable(status) > before).then_some(());
            ship.until("records become durable in Kafka", goes_on).await?;
        }
        Ok(())
    }

    /// Waits until all is in Kafka, and stops all nodes.
    async fn settle(&mut self) -> io::Result<()> {
        for side in [Side::Ship, Side::Hub] {
            for pair in &mut self.pairs {
                pair.running(side)?.until("all is in Kafka", synced).await?;
            }
        }
        for side in [Side::Ship, Side::Hub] {
            for pair in &mut self.pairs {
                pair.stop(side).await?;
            }
        }
        Ok(())
    }

    /// The census.
    fn count(&mut self, ledger: &Ledger) -> Result<(), SoakError> {
        let (mut wrong, mut shelves) = (Vec::new(), Shelves::new(ledger));
        for topic in ["alert", "log"] {
            let census = |isolation| {
                census(self.broker.address(), topic, isolation).map_err(io::Error::other)
            };
            let mut seen = census(Isolation::Committed)?;
            self.tally.committed += seen.len() as u64;
            self.tally.forwarded += seen.iter().filter(|seen| is_forwarded(seen)).count() as u64;
            let all = census(Isolation::Uncommitted)?;
            self.tally.aborted += (all.len() - seen.len()) as u64;
            wrong.extend(is_whole(&seen).err());
            // Producers wrote in this order.
            seen.sort_by_key(|seen| seen.birth().at);
            seen.iter().for_each(|seen| shelve(&mut shelves, seen, &mut wrong));
        }
        shelves.compare(ledger, &mut wrong);
        wrong.truncate(LISTED_MAX);
        if wrong.is_empty() { Ok(()) } else { Err(SoakError::Violation(wrong)) }
    }
}

fn shelve(shelves: &mut Shelves, seen: &Seen, wrong: &mut Vec<String>) {
    let birth = seen.birth();
    let visit = Visit {
        stream: &birth.at.stream,
        offset: birth.at.offset,
        epoch: birth.at.epoch.unwrap_or_default(),
        hash: birth.hash,
        key: seen.key.as_deref(),
        value: seen.value.as_deref(),
    };
    shelves.take(&visit, wrong);
}

/// Whether a record came through more than one hub.
fn is_forwarded(seen: &Seen) -> bool {
    let path = seen.header(birth::PATH).unwrap_or_default();
    NAMES.iter().filter(|[hub, _]| path.contains(&format!("{hub}@"))).count() > 1
}

fn synced(status: Status) -> Option<()> {
    let synced = status.link.is_some_and(|link| link.state == LinkState::Synced);
    let behind: u64 = status.lanes.iter().map(|lane| lane.behind_records).sum();
    (synced && behind == 0).then_some(())
}

impl fmt::Display for KafkaTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([hub, broker, ship], [lost, unanswered]) = (self.kills, self.hit);
        write!(
            f,
            "{} kills (hub {hub}, broker {broker}, ship {ship}), a hub {} times away for long, \
             {lost} commits lost, {unanswered} not answered, {} calms in {} s; {} records \
             acknowledged, {} committed, of which {} came through two hubs, {} besides that were \
             aborted",
            hub + broker + ship,
            self.away,
            self.calms,
            self.seconds,
            self.acknowledged,
            self.committed,
            self.forwarded,
            self.aborted
        )
    }
}
