//! A broker that asks who a hub is, and what it may: passwords, certificates, and rights that are
//! taken away and given back. The hub has the rights that `docs/kafka.md` lists, and no more.

use landfall::api::{Alarm, Status};
use landfall_tests::broker::{self, Broker, Guarded};
use landfall_tests::census::{Isolation, census};
use landfall_tests::kafka_requests::{On, Operation, Rule, make, take_back, transactional_ids};
use landfall_tests::process::{NodeDir, Running, until};

use crate::fleet::{Fleet, assert_same, is_up, lines, synced};
use crate::kafka::{append, committed, texts};
use crate::kafka_lacks::says;
use crate::kafka_refuses::large;

use Operation::{Create, Describe, Read, Write};

/// A right of the hub's.
type Right = (On<'static>, &'static [Operation]);

/// What `docs/kafka.md` lists, for a hub whose topics begin with `fleet.`.
const DOCUMENTED: [Right; 7] = [
    (On::TransactionalIds("landfall."), &[Write, Describe]),
    (On::Topics("fleet."), &[Write, Describe, Create]),
    (On::Topic("_landfall_dead_letters"), &[Write, Describe, Create]),
    (On::Topic("_landfall_frontiers"), &[Read, Write, Describe, Create]),
    (On::Topic("_landfall_registry"), &[Read, Write, Describe, Create]),
    (On::Group("landfall.shards"), &[Read]),
    (On::Group("landfall.frontier"), &[Read]),
];

/// A hub that is not started, in front of a broker where it has the documented rights.
async fn guarded_fleet() -> (Fleet, Broker, Guarded) {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let broker = Broker::start_guarded(fleet.dir.path()).await.unwrap();
    let guarded = broker.guarded().expect("it asks for rights").clone();
    make(broker.address(), &guarded.user, Rule::Allow, &DOCUMENTED).unwrap();
    // To read a topic takes half a second for each of its partitions.
    fleet.hub.configure(&(broker.settings_at(guarded.plain) + "partitions = 1\n")).unwrap();
    (fleet, broker, guarded)
}

/// The broker's rules for the hub's user.
struct Rules {
    broker: std::net::SocketAddr,
    user: String,
}

impl Rules {
    fn deny(&self, rights: &[Right]) {
        make(self.broker, &self.user, Rule::Deny, rights).unwrap();
    }

    fn give_back(&self, rights: &[Right]) {
        take_back(self.broker, &self.user, Rule::Deny, rights).unwrap();
    }
}

/// Writes the file with a hub's password.
fn tell_password(fleet: &Fleet, password: &str) -> String {
    fleet.file("password", &[password.to_owned()]).unwrap()
}

/// Whether a node has an alarm about a stream, whose hint contains these words.
fn has_alarm(status: &Status, stream: &str, words: &str) -> bool {
    let is_it = |alarm: &Alarm| alarm.place == stream && alarm.hint.contains(words);
    status.alarms.iter().any(is_it)
}

/// A ship that runs, with lines of a topic that wait.
async fn brings(fleet: &Fleet, ship: &NodeDir, topic: &str, count: usize) {
    append(fleet, ship, topic, &lines(topic, count), &[]).await;
}

async fn is_there(broker: &Broker, topic: &str, count: usize) {
    let there = async || (committed(broker, topic).len() == count).then_some(());
    until(&format!("{count} records of {topic}"), there).await.unwrap();
}

/// A hub that logs in by PLAIN, and a ship that it knows; both run.
async fn plain() -> (Fleet, Broker, Rules, NodeDir, [Running; 2]) {
    let (fleet, broker, guarded) = guarded_fleet().await;
    let file = tell_password(&fleet, "a wrong one");
    let settings = format!(
        "topic = \"fleet.{{topic}}\"\npassword_file = \"{file}\"\nproperties = [\
         \"security.protocol=sasl_plaintext\", \"sasl.mechanism=PLAIN\", \
         \"sasl.username={}\"]\n",
        guarded.user
    );
    fleet.hub.configure(&settings).unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    says(&mut hub, "look at `kafka.password_file`").await;
    let log = std::fs::read_to_string(fleet.hub.log()).unwrap();
    assert!(log.contains("look at `kafka.password_file`") && !log.contains("a wrong one"));
    tell_password(&fleet, &guarded.password);
    hub.until("the hub is let in", |status| is_up(&status).then_some(())).await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    brings(&fleet, &ship, "a", 100).await;
    brings(&fleet, &ship, "b", 100).await;
    let mut runs = ship.run_up().await.unwrap();
    runs.until("synced", synced).await.unwrap();
    let rules = Rules { broker: broker.address(), user: guarded.user };
    (fleet, broker, rules, ship, [hub, runs])
}

#[tokio::test]
async fn a_password_is_read_again_and_lost_rights_on_topics_stop_their_streams_alone() {
    let test = "a_password_is_read_again_and_lost_rights_on_topics_stop_their_streams_alone";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker, rules, ship, [mut hub, mut runs]) = plain().await;
    let lost: [Right; 3] = [
        (On::Topic("fleet.a"), &[Write]),
        (On::Topic("fleet.unseen"), &[Describe]),
        (On::Topic("fleet.unmade"), &[Create]),
    ];
    rules.deny(&lost);
    for topic in ["a", "b", "unseen", "unmade"] {
        brings(&fleet, &ship, topic, 100).await;
    }
    let stalled = |status: Status| {
        let all = has_alarm(&status, "ship-1/a/0", "uthorization")
            && has_alarm(&status, "ship-1/unseen/0", "it needs Write and Describe")
            && has_alarm(&status, "ship-1/unmade/0", "can't be made");
        all.then_some(())
    };
    hub.until("the hub says which topics it may not use", stalled).await.unwrap();
    brings(&fleet, &ship, "b", 100).await;
    is_there(&broker, "fleet.b", 300).await;
    rules.give_back(&lost[..2]);
    // Somebody else makes what the hub may not.
    broker.make_topic("fleet.unmade", 1, &[]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    for (topic, times) in [("a", 2), ("b", 3), ("unseen", 1), ("unmade", 1)] {
        let wanted = vec![lines(topic, 100); times].concat();
        assert_same(texts(&committed(&broker, &format!("fleet.{topic}"))), &[&wanted]);
    }
}

#[tokio::test]
async fn a_hub_that_lost_the_rights_that_it_cannot_do_without_says_which_and_goes_on_with_them() {
    let test =
        "a_hub_that_lost_the_rights_that_it_cannot_do_without_says_which_and_goes_on_with_them";
    if !broker::is_possible(test) {
        return;
    }
    let (fleet, broker, rules, ship, [mut hub, mut runs]) = plain().await;
    let lost: [(Right, &str); 2] = [
        ((On::TransactionalIds("landfall."), &[Write]), "on the transactional ids"),
        ((On::Topic("_landfall_frontiers"), &[Write]), "Read, Write and Describe on it"),
    ];
    for (right, words) in lost {
        rules.deny(&[right]);
        brings(&fleet, &ship, "b", 100).await;
        says(&mut hub, words).await;
        let status = runs.status().await.unwrap();
        assert!(synced(status).is_none(), "{words}: the ship was promised what is not in Kafka");
        rules.give_back(&[right]);
        runs.until("synced", synced).await.unwrap();
    }
    assert_same(texts(&committed(&broker, "fleet.b")), &[&vec![lines("b", 100); 3].concat()]);
    // The group has given shards, which are written until it is asked again.
    let right: Right = (On::Group("landfall.shards"), &[Read]);
    rules.deny(&[right]);
    says(&mut hub, "the right Read on the groups").await;
    rules.give_back(&[right]);
    // Only a hub that begins reads the frontier.
    let right: Right = (On::Topic("_landfall_frontiers"), &[Read]);
    rules.deny(&[right]);
    hub.kill().await.unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    says(&mut hub, "`kafka.frontier_topic`").await;
    rules.give_back(&[right]);
    // What the hub may do is enough for dead letters, too.
    broker.make_topic("fleet.small", 1, &[("max.message.bytes", "65536")]).await.unwrap();
    append(&fleet, &ship, "small", &[large()], &[]).await;
    runs.until("synced", synced).await.unwrap();
    let letters = census(broker.address(), "_landfall_dead_letters", Isolation::Committed);
    assert_eq!(letters.unwrap().len(), 1);
}

#[tokio::test]
async fn over_tls_and_by_scram_a_hub_brings_all_once_and_trusts_nobody_else() {
    let test = "over_tls_and_by_scram_a_hub_brings_all_once_and_trusts_nobody_else";
    if !(broker::is_possible(test) && broker::has_tls(test)) {
        return;
    }
    let (fleet, broker, guarded) = guarded_fleet().await;
    let file = tell_password(&fleet, &guarded.password);
    let made = std::fs::read_to_string(fleet.hub.path.join("landfall.toml")).unwrap();
    let made = made.replace(&guarded.plain.to_string(), &guarded.tls.to_string());
    let tell = |mechanism: &str, trusted: &str| {
        let settings = format!(
            "topic = \"fleet.{{topic}}\"\npassword_file = \"{file}\"\nproperties = [\
             \"security.protocol=sasl_ssl\", \"sasl.mechanism={mechanism}\", \
             \"sasl.username={}\", \"ssl.ca.location={trusted}\"]\n",
            guarded.user
        );
        std::fs::write(fleet.hub.path.join("landfall.toml"), made.clone() + &settings).unwrap();
    };
    let stranger = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/stranger.pem");
    tell("SCRAM-SHA-256", stranger);
    let mut hub = fleet.hub.run_up().await.unwrap();
    says(&mut hub, "look at `ssl.ca.location`").await;
    hub.kill().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    for (at, mechanism) in ["SCRAM-SHA-256", "SCRAM-SHA-512"].into_iter().enumerate() {
        tell(mechanism, &guarded.certificate.to_string_lossy());
        let _hub = fleet.hub.run_up().await.unwrap();
        brings(&fleet, &ship, "a", 100).await;
        ship.done("run", &["--until-synced"]).await.unwrap();
        is_there(&broker, "fleet.a", 100 * (at + 1)).await;
    }
}

#[tokio::test]
async fn what_a_broker_has_forgotten_while_nothing_came_is_begun_anew_and_all_is_there_once() {
    let test = "what_a_broker_has_forgotten_while_nothing_came_is_begun_anew_and_all_is_there_once";
    if !broker::is_possible(test) {
        return;
    }
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let broker = Broker::start_forgetful(fleet.dir.path(), 3).await.unwrap();
    let settings = broker.settings_at(broker.address()) + "partitions = 1\n";
    fleet.hub.configure(&settings).unwrap();
    let mut hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let mut runs = ship.run_up().await.unwrap();
    for idle in 1..=2 {
        append(&fleet, &ship, "log", &lines(&format!("{idle}"), 100), &[]).await;
        runs.until("synced", synced).await.unwrap();
        let ids = || transactional_ids(broker.address()).unwrap();
        assert!(ids() > 0, "what it does not remember it can't forget");
        until("the broker has forgotten", async || (ids() == 0).then_some(())).await.unwrap();
    }
    append(&fleet, &ship, "log", &lines("3", 100), &[]).await;
    runs.until("synced", synced).await.unwrap();
    hub.until("the hub goes on", synced).await.unwrap();
    let wanted: Vec<_> = (1..=3).flat_map(|idle| lines(&format!("{idle}"), 100)).collect();
    assert_same(texts(&committed(&broker, "log")), &[&wanted]);
}
