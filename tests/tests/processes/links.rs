//! What a link may do, and what the status says of it.

use std::time::Duration;

use landfall::api::LinkState;
use landfall::clock;
use landfall::transport::relay::Shape;

use crate::fleet::{Fleet, is_up, lines, synced, values};

#[tokio::test]
async fn where_udp_is_blocked_a_ship_catches_up_over_tls_on_tcp() {
    let fleet = Fleet::new(Shape { udp: false, ..Shape::default() }).await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let file = fleet.file("in", &lines("a", 2_000)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let status = runs.until("synced", synced).await.unwrap();
    assert_eq!(status.link.unwrap().carrier.as_deref(), Some("tls"));
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), lines("a", 2_000));
    drop(hub);
}

#[tokio::test]
async fn through_a_bad_network_that_forgets_its_ports_all_arrives_once() {
    let shape = Shape {
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(20),
        loss_per_mille: 50,
        duplicate_per_mille: 50,
        corrupt_per_mille: 20,
        ..Shape::default()
    };
    let fleet = Fleet::new(shape).await.unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let token = fleet.token("ship-1", &[]).await.unwrap();
    let ship = fleet.node("ship-1");
    ship.done("init", &["--join", &token]).await.unwrap();
    // Where QUIC's first packets are lost, TCP would soon be first.
    ship.configure("backoff_max = \"1s\"\ntcp_fallback_delay = \"5m\"\n").unwrap();
    let many: Vec<_> = lines("a", 2_000)
        .iter()
        .map(|line| line.replace('}', &format!(r#","x":"{}"}}"#, noise(line))))
        .collect();
    let file = fleet.file("in", &many).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    let mut asked = 0;
    let all = runs.until("synced", |status| {
        // A handshake cannot follow to another port. After it, some twice a second: what is on the
        // way to the old port is lost.
        if is_up(&status) {
            asked += 1;
            if asked % 50 == 20 {
                fleet.relay.rebind();
            }
        }
        synced(status)
    });
    let status = all.await.unwrap();
    assert_eq!(status.link.unwrap().carrier.as_deref(), Some("quic"));
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), many);
    assert!(asked > 70, "asked {asked} times");
    drop(hub);
}

#[tokio::test]
async fn a_hub_and_a_ship_that_stand_still_go_on_where_they_were() {
    let (fleet, mut hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let append = async |name: &str| {
        let file = fleet.file(name, &lines(name, 100)).unwrap();
        ship.done("append", &["log", &file]).await.unwrap();
    };
    hub.freeze().unwrap();
    append("a").await;
    let gone = runs.until("the ship gives the hub up", |status| (!is_up(&status)).then_some(()));
    gone.await.unwrap();
    append("b").await;
    hub.thaw().unwrap();
    runs.until("synced", synced).await.unwrap();
    runs.freeze().unwrap();
    let gone = hub.until("the hub gives the ship up", |status| {
        status.sites.first().is_some_and(|site| site.state == "away").then_some(())
    });
    gone.await.unwrap();
    runs.thaw().unwrap();
    append("c").await;
    runs.until("synced", synced).await.unwrap();
    let all = [lines("a", 100), lines("b", 100), lines("c", 100)].concat();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), all);
}

/// Text that does not compress, and differs from line to line.
fn noise(line: &str) -> String {
    let digest = |n: u8| landfall::node::checksum().of(&[line.as_bytes(), &[n]].concat());
    (0..20).map(|n| format!("{:08x}", digest(n))).collect()
}

#[tokio::test]
async fn revoking_a_site_cuts_its_connection_within_five_seconds() {
    let (fleet, mut hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let revoked = clock::monotonic();
    fleet.hub.done("sites", &["revoke", "ship-1"]).await.unwrap();
    let cut = runs.until("cut", |status| (!is_up(&status)).then_some(()));
    cut.await.unwrap();
    assert!(clock::monotonic().ms_since(revoked) < 5_000);
    let told =
        runs.until("it is told why", |status| status.link?.why.contains("revoked").then_some(()));
    told.await.unwrap();
    let site = hub.until("the site is revoked", |status| status.sites.into_iter().next()).await;
    assert_eq!(site.unwrap().state, "revoked");
}

#[tokio::test]
async fn a_ship_tries_for_as_long_as_the_hub_is_away_and_then_catches_up() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    hub.kill().await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    let mut runs = ship.run_up().await.unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let tries = runs.until("it tries again", |status| {
        let link = status.link?;
        (link.attempts >= 2 && !link.why.is_empty()).then_some(link)
    });
    let link = tries.await.unwrap();
    assert!(matches!(link.state, LinkState::Connecting | LinkState::Waiting), "{link:?}");
    let hub = fleet.hub.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), lines("a", 10));
    drop(hub);
}

#[tokio::test]
async fn a_hub_knows_how_far_its_sites_are_also_when_they_are_away() {
    let (fleet, mut hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    // Nothing of this topic is taken, so that it stays behind.
    let words = ["--write", "log"];
    let token = fleet.token("ship-2", &words).await.unwrap();
    let behind = fleet.ship_with("ship-2", &token).await.unwrap();
    let file = fleet.file("in", &lines("a", 10)).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    behind.done("append", &["other", &file]).await.unwrap();
    let done = ship.call("run", &["--until-synced"]).await.unwrap();
    assert_eq!(done.code, Some(0), "{done:?}");
    let told = hub.until("the last word has arrived", |status| {
        let site = status.sites.into_iter().find(|site| site.site == "ship-1")?;
        (site.behind_records == Some(0) && site.state == "away").then_some(site)
    });
    assert!(told.await.unwrap().last_contact_ms.is_some());
    for node in [&ship, &behind] {
        let runs = node.run_up().await.unwrap();
        let told = hub.until("the hub is told", |status| {
            let name = node.path.file_name()?.to_str()?;
            let site = status.sites.into_iter().find(|site| site.site == name)?;
            let wanted = if name == "ship-1" { 0 } else { 10 };
            (site.behind_records? == wanted).then_some(site)
        });
        let site = told.await.unwrap();
        assert_eq!(site.oldest_unsent_ms.is_some(), site.behind_records > Some(0), "{site:?}");
        assert!(site.version.is_some());
        assert!(runs.terminate().await.unwrap().success());
    }
    let away = hub.until("both are away", |status| {
        status.sites.iter().all(|site| site.state == "away").then_some(status.sites)
    });
    let away = away.await.unwrap();
    assert_eq!(
        away.iter().map(|site| site.behind_records).collect::<Vec<_>>(),
        [Some(0), Some(10)]
    );
    let table = fleet.hub.done("sites", &[]).await.unwrap();
    assert!(table.lines().any(|line| line.contains("ship-2") && line.contains("10")), "{table}");
}

#[tokio::test]
async fn a_rate_cap_holds_up_a_backlog_and_nothing_urgent() {
    let (fleet, hub) = Fleet::running().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let topic = "[[topic]]\nname = \"alarm\"\nlane = \"urgent\"\n";
    ship.configure(&format!("rate_bytes_max = \"50KiB\"\n{topic}")).unwrap();
    // What is random can't be made smaller on its way.
    let mut rng = landfall_simulation::rng::Rng::new(7);
    let noise =
        |_| format!(r#"{{"x":"{:016x}{:016x}"}}"#, rng.below(u64::MAX), rng.below(u64::MAX));
    let many: Vec<_> = (0..10_000).map(noise).collect();
    let file = fleet.file("in", &many).unwrap();
    ship.done("append", &["log", &file]).await.unwrap();
    let began = clock::monotonic();
    let mut runs = ship.run_up().await.unwrap();
    let catching_up = runs
        .until("it is up", |status| (status.link?.state == LinkState::CatchingUp).then_some(()));
    catching_up.await.unwrap();
    let urgent = fleet.file("urgent", &lines("a", 1)).unwrap();
    ship.done("append", &["alarm", &urgent]).await.unwrap();
    let behind = runs.until("what is urgent is there", |status| {
        let behind = |name| status.lanes.iter().find(|lane| lane.name == name);
        (behind("urgent")?.behind_records == 0).then_some(behind("normal")?.behind_records)
    });
    assert!(behind.await.unwrap() > 0, "it did not wait for the backlog");
    runs.until("synced", synced).await.unwrap();
    let took = clock::monotonic().ms_since(began);
    assert!(took > 2_000, "10,000 records of more than 30 bytes took {took} ms");
    assert_eq!(values(&fleet.hub, "log").await.unwrap(), many);
    drop(hub);
}
