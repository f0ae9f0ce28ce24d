//! Commands for a ship that is away: they wait at the hub, are in the ship's log once, and have one
//! reply each at the hub, whatever is killed.

use std::process::Stdio;
use std::time::Duration;

use landfall::api::{Status, SubscriptionState};
use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, Outcome, Running, pause, until};
use tokio::process::Child;

use crate::fleet::{Fleet, synced};
use crate::replies::{check, header, read};

const TOPIC: &str = "commands.ship-1";

struct Scene {
    fleet: Fleet,
    hub: Running,
    ship: NodeDir,
}

impl Scene {
    /// A hub, and a ship that commands come down to if its token says so.
    async fn new(words: &[&str]) -> Self {
        let (fleet, hub) = Fleet::running().await.unwrap();
        let token = fleet.token("ship-*", words).await.unwrap();
        let ship = fleet.node("ship-1");
        ship.done("init", &["--site", "ship-1", "--join", &token]).await.unwrap();
        let topic = format!("[[topic]]\nname = \"{TOPIC}\"\nreplicate = \"down\"\n");
        ship.configure(&format!("backoff_max = \"1s\"\ntcp_fallback_delay = \"100ms\"\n{topic}"))
            .unwrap();
        Self { fleet, hub, ship }
    }

    /// The hub's program gives commands, with numbers, for five keys.
    async fn command(&self, from: u64, count: u64) {
        let line = |n: u64| format!(r#"{{"key":"k{}","value":{n}}}"#, n % 5);
        let lines: Vec<_> = (from..from + count).map(line).collect();
        let file = self.fleet.file("in", &lines).unwrap();
        self.fleet.hub.done("append", &[TOPIC, &file, "--records"]).await.unwrap();
    }

    /// Starts the ship's program, to be killed.
    fn obey(&self, script: &str) -> Child {
        let data = self.ship.path.to_string_lossy();
        let words = ["on", "--data", &data, TOPIC, "--reply", "answers", "--attempts", "1"];
        let mut command =
            self.ship.program.command(&[&words[..], &["--", "sh", "-c", script]].concat());
        command.stderr(Stdio::null()).spawn().unwrap()
    }
}

/// What a call of the hub's operator says.
async fn call(hub: &NodeDir, words: &[&str]) -> Outcome {
    hub.call("call", &[&[TOPIC, "--reply", "answers"], words].concat()).await.unwrap()
}

fn stands(status: &Status, state: SubscriptionState) -> Option<()> {
    let of = status.subscriptions.iter().find(|of| of.topic == TOPIC)?;
    (of.state == state).then_some(())
}

#[tokio::test]
async fn commands_for_a_ship_that_is_away_wait_at_the_hub_and_have_one_reply_each() {
    let seed = std::env::var("LANDFALL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| landfall::entropy::number().unwrap());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let scene = Scene::new(&["--subscribe", "commands.{site}"]).await;
    let mut runs = scene.ship.run_up().await.unwrap();
    let level = |status: Status| stands(&status, SubscriptionState::Level);
    runs.until("it is level", level).await.unwrap();
    runs.kill().await.unwrap();
    const COUNT: u64 = 120;
    scene.command(0, COUNT / 2).await;
    runs = scene.ship.run_up().await.unwrap();
    for part in 0..4 {
        let mut program = scene.obey("sleep 0.005; cat");
        pause(Duration::from_millis(rng.below(400))).await;
        runs.kill().await.unwrap();
        scene.command(COUNT / 2 + part * COUNT / 8, COUNT / 8).await;
        runs = scene.ship.run_up().await.unwrap();
        pause(Duration::from_millis(rng.below(400))).await;
        program.kill().await.unwrap();
    }
    let mut program = scene.obey("sleep 0.005; cat");
    let answers = async || {
        let replies = read(&scene.fleet.hub, "answers").await;
        (replies.len() as u64 >= COUNT).then_some(replies)
    };
    let replies = until("all commands have a reply at the hub", answers).await.unwrap();
    program.kill().await.unwrap();
    check(&replies, COUNT);
    check(&read(&scene.ship, TOPIC).await, COUNT);
    let shown = scene.ship.done("status", &[]).await.unwrap();
    assert!(shown.contains("comes down: commands.ship-1, all of it is here"), "{shown}");
    let file = scene.fleet.file("own", &["{}".to_owned()]).unwrap();
    let refused = scene.ship.call("append", &[TOPIC, &file]).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("comes down from the node above"), "{refused:?}");
    runs.until("synced", synced).await.unwrap();
    runs.terminate().await.unwrap();
    let verified = scene.ship.call("verify", &[]).await.unwrap();
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[tokio::test]
async fn a_ship_without_the_right_gets_nothing_and_is_told_whom_to_ask() {
    let scene = Scene::new(&["--subscribe", "commands.ship-2"]).await;
    scene.command(0, 5).await;
    let mut runs = scene.ship.run_up().await.unwrap();
    let refused = |status: Status| stands(&status, SubscriptionState::Refused);
    runs.until("it is refused", refused).await.unwrap();
    let shown = scene.ship.done("status", &[]).await.unwrap();
    assert!(shown.contains("ask the operator of hub"), "{shown}");
    assert!(read(&scene.ship, TOPIC).await.is_empty());
    let status = scene.hub.status().await.unwrap();
    assert!(status.offences.contains_key("foreign_subscription"), "{:?}", status.offences);
    // The operator lets it have them, and takes that back.
    let hub = &scene.fleet.hub;
    let given = ["rights", "ship-1", "--subscribe", "commands.{site}"];
    let told = hub.done("sites", &given).await.unwrap();
    assert_eq!(told, "ship-1 may write *; carry nobody; have come down commands.{site}\n");
    let level = |status: Status| stands(&status, SubscriptionState::Level);
    runs.until("it has come", level).await.unwrap();
    assert_eq!(read(&scene.ship, TOPIC).await.len(), 5);
    hub.done("sites", &["rights", "ship-1", "--subscribe", "-"]).await.unwrap();
    runs.until("it is refused again", refused).await.unwrap();
}

#[tokio::test]
async fn a_call_waits_for_the_reply_of_a_ship_that_comes_later_and_gives_its_command_once() {
    let scene = Scene::new(&["--subscribe", "commands.{site}"]).await;
    let hub = &scene.fleet.hub;
    let called = ["\"north\"", "--key", "rudder", "--id", "turn-1"];
    let late = call(hub, &[&called[..], &["--wait", "10ms"]].concat()).await;
    assert_eq!(late.code, Some(3), "{late:?}");
    assert!(late.err.contains("does not give it again") || late.err.contains("did not take"));
    let late = call(hub, &[&called[..], &["--wait", "1s"]].concat()).await;
    assert!(late.err.contains("the same call with `--id turn-1` waits on"), "{late:?}");
    let runs = scene.ship.run_up().await.unwrap();
    let mut program = scene.obey("test \"$RECORD_KEY\" != mast && cat");
    let replied = call(hub, &called).await;
    assert_eq!((replied.code, replied.out.as_str()), (Some(0), "\"north\"\n"), "{replied:?}");
    // Who asks again has the same reply, also when the hub was started again meanwhile.
    scene.hub.kill().await.unwrap();
    let (again, up) = tokio::join!(call(hub, &called), hub.run_up());
    let _hub = up.unwrap();
    assert_eq!(again.out, replied.out, "{again:?}");
    let given = read(hub, TOPIC).await;
    assert_eq!(given.len(), 1, "{given:?}");
    assert_eq!(header(&given[0], "correlation"), Some("turn-1"));
    // A command that is not obeyed says why.
    let refused = call(hub, &["1", "--key", "mast"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("set aside: sh ended with exit code 1"), "{refused:?}");
    let expired = call(hub, &["2", "--deadline", "0s"]).await;
    assert!(expired.err.contains("its deadline, "), "{expired:?}");
    program.kill().await.unwrap();
    runs.terminate().await.unwrap();
}
