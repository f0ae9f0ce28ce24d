//! What befalls the two nodes: kills, stops and cuts at random moments, and calms in between, in
//! which everything must be seen to go on.

use std::sync::Mutex;
use std::time::Duration;

use landfall::clock::{self, Monotonic};

use super::ledger::Ledger;
use super::pair::{Pair, Side};
use super::tally::Tally;
use super::{Options, SoakError};
use crate::process::pause;
use landfall_simulation::rng::Rng;

/// How long a node takes to start, roughly: kills during start-up fall within.
const STARTUP_MS: u64 = 60;
/// The longest cut, in milliseconds; some outlast the nodes' idle timeout of 5 s.
const CUT_MS_MAX: u64 = 6_500;
/// Kills between two lines of progress.
const KILLS_PER_LINE: u64 = 50;

/// Strikes until the kills are done or the time is up.
pub(super) async fn strike(
    options: &Options,
    pair: &mut Pair,
    tally: &mut Tally,
    ledger: &Mutex<Ledger>,
) -> Result<(), SoakError> {
    let mut storm = Storm { rng: Rng::new(options.seed ^ tally.kills), pair, tally };
    let (first, started) = (storm.tally.kills, clock::monotonic());
    let mut told = 0;
    calm(&mut storm).await?;
    loop {
        let kills = storm.tally.kills - first;
        let ms = clock::monotonic().ms_since(started);
        let late = options.minutes.is_some_and(|minutes| ms > minutes * 60_000);
        if kills >= options.kills || late {
            storm.pair.set_up(true);
            return Ok(());
        }
        if kills / KILLS_PER_LINE > told {
            told = kills / KILLS_PER_LINE;
            storm.tell(options, kills, started, ledger);
            storm.tally.save(&options.dir)?;
        }
        let blows = 1 + storm.rng.below(6);
        for _ in 0..blows.min(options.kills - kills) {
            let wait = storm.moment();
            pause(wait).await;
            storm.blow().await?;
        }
        calm(&mut storm).await?;
    }
}

/// Both nodes run, and what is appended becomes durable at the hub.
async fn calm(storm: &mut Storm<'_>) -> Result<(), SoakError> {
    storm.tally.calms += 1;
    storm.pair.set_up(true);
    let durable = |status: landfall::api::Status| -> u64 {
        status.lanes.iter().map(|lane| lane.root_seq).sum()
    };
    storm.pair.running(Side::Hub)?.up().await?;
    let ship = storm.pair.running(Side::Ship)?;
    let before = durable(ship.up().await?);
    ship.until("records become durable at the hub", |status| {
        (durable(status) > before).then_some(())
    })
    .await?;
    Ok(())
}

struct Storm<'a> {
    rng: Rng,
    pair: &'a mut Pair,
    tally: &'a mut Tally,
}

impl Storm<'_> {
    /// How long until the next blow: mostly soon.
    fn moment(&mut self) -> Duration {
        let longest = *self.rng.pick(&[20, 100, 100, 400, 1_500]);
        Duration::from_millis(self.rng.below(longest))
    }

    async fn blow(&mut self) -> Result<(), SoakError> {
        match self.rng.below(100) {
            0..40 => self.kill(&[Side::Ship]).await?,
            40..75 => self.kill(&[Side::Hub]).await?,
            75..85 => self.kill(&[Side::Hub, Side::Ship]).await?,
            85..90 => {
                let side = *self.rng.pick(&[Side::Hub, Side::Ship]);
                self.tally.stops += 1;
                // A signal that comes before the program listens for it is an ordinary death.
                self.pair.running(side)?.up().await?;
                self.pair.stop(side).await?;
                self.pair.start(side)?;
            }
            90..95 => {
                self.tally.cuts += 1;
                self.pair.connect().await?;
            }
            _ => {
                self.tally.cuts += 1;
                self.pair.set_up(false);
                let longest = *self.rng.pick(&[200, 1_000, CUT_MS_MAX]);
                pause(Duration::from_millis(self.rng.below(longest))).await;
                self.pair.set_up(true);
            }
        }
        Ok(())
    }

    /// Kills some nodes and starts them again, now and then to kill them while they start.
    async fn kill(&mut self, sides: &[Side]) -> Result<(), SoakError> {
        for side in sides {
            self.pair.kill(*side).await?;
            self.tally.kills += 1;
        }
        if self.rng.chance(1, 4) {
            let down = Duration::from_millis(self.rng.below(200));
            pause(down).await;
        }
        for side in sides {
            self.pair.start(*side)?;
        }
        while self.rng.chance(1, 4) {
            let side = *self.rng.pick(sides);
            let moment = Duration::from_millis(self.rng.below(STARTUP_MS));
            pause(moment).await;
            self.pair.kill(side).await?;
            self.tally.kills += 1;
            self.pair.start(side)?;
        }
        Ok(())
    }

    fn tell(&self, options: &Options, kills: u64, started: Monotonic, ledger: &Mutex<Ledger>) {
        if !options.verbose {
            return;
        }
        let seconds = (clock::monotonic().ms_since(started) / 1_000).max(1);
        let records = ledger.lock().map_or(0, |ledger| ledger.acknowledged());
        println!(
            "{kills} of {} kills, {:.1} a second, {} lost links, {records} records acknowledged",
            options.kills,
            kills as f64 / seconds as f64,
            self.tally.cuts
        );
    }
}
