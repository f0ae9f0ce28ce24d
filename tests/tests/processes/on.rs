//! `landfall on`: a program deals with each record once, whatever is killed, and what it can't deal
//! with is set aside.

use std::io;
use std::time::Duration;

use landfall_simulation::rng::Rng;
use landfall_tests::process::{NodeDir, Program, Running, pause, until};
use tempfile::TempDir;
use tokio::process::Child;

use crate::replies::{check, header, read};

struct Ship {
    dir: TempDir,
    node: NodeDir,
}

impl Ship {
    async fn new() -> io::Result<(Self, Running)> {
        let dir = tempfile::tempdir()?;
        let node = NodeDir::new(&Program::find()?, dir.path().join("ship"));
        node.done("init", &["--site", "ship"]).await?;
        let runs = node.run_up().await?;
        Ok((Self { dir, node }, runs))
    }

    async fn append(&self, topic: &str, lines: &[String]) -> io::Result<String> {
        let path = self.dir.path().join("in");
        std::fs::write(&path, lines.join("\n") + "\n")?;
        self.node.done("append", &[topic, &path.to_string_lossy(), "--records"]).await
    }

    /// Starts `landfall on`, to be killed.
    fn on(&self, words: &[&str]) -> Child {
        let data = self.node.path.to_string_lossy();
        let words = [&["on", "--data", &data], words].concat();
        let mut command = self.node.program.command(&words);
        command.stderr(std::process::Stdio::null()).spawn().unwrap()
    }
}

#[tokio::test]
async fn the_program_gets_all_of_a_record_and_what_it_prints_is_the_reply() {
    let (ship, _runs) = Ship::new().await.unwrap();
    let records = [
        r#"{"key":"a","value":{"n": 1.0},"headers":[{"name":"correlation","value":"c-1"}]}"#,
        r#"{"key":"b","form":"tombstone","timestamp":"2022-01-03T00:00:00Z"}"#,
        r#"{"value":"$GPGGA","form":"text"}"#,
    ];
    ship.append("orders", &records.map(str::to_owned)).await.unwrap();
    let tell =
        r#"printf '%s|' "$RECORD_KEY" "$RECORD_FORM" "$RECORD_TIMESTAMP" "$RECORD_ATTEMPT"; cat"#;
    let words = ["orders", "--reply", "replies", "--max", "3", "--", "sh", "-c", tell];
    ship.node.done("on", &words).await.unwrap();
    let replies = read(&ship.node, "replies").await;
    let told: Vec<_> = replies.iter().map(|reply| reply["value"].as_str().unwrap()).collect();
    assert!(told[0].starts_with("a|json|") && told[0].ends_with("|1|{\"n\": 1.0}"), "{told:?}");
    assert_eq!(told[1], "b|tombstone|2022-01-03T00:00:00.000Z|1|");
    assert!(told[2].starts_with("|text|") && told[2].ends_with("|1|$GPGGA"), "{told:?}");
    assert_eq!(replies[0]["key"], "a");
    assert_eq!(header(&replies[0], "correlation"), Some("c-1"));
    assert!(header(&replies[0], "reply-to").unwrap().starts_with("ship/orders/0@0~"));
    // JSON is a value as it is, and the consumer goes on behind what it has committed.
    ship.append("orders", &[r#"{"key":"c","value":[2]}"#.to_owned()]).await.unwrap();
    let words = ["orders", "--reply", "replies", "--max", "1", "--", "cat"];
    ship.node.done("on", &words).await.unwrap();
    let replies = read(&ship.node, "replies").await;
    assert_eq!((replies.len(), &replies[3]["value"]), (4, &serde_json::json!([2])));
    // Without a topic for replies it is printed.
    ship.append("orders", &[r#"{"value":3}"#.to_owned()]).await.unwrap();
    let printed = ship.node.done("on", &["orders", "--max", "1", "--", "cat"]).await.unwrap();
    assert_eq!(printed, "3");
}

#[tokio::test]
async fn what_the_program_cannot_deal_with_is_tried_again_and_then_set_aside() {
    let (ship, _runs) = Ship::new().await.unwrap();
    let records = [
        r#"{"key":"third","value":1}"#,
        r#"{"key":"never","value":2}"#,
        r#"{"key":"late","value":3,"headers":[{"name":"deadline","value":"1577836800000"}]}"#,
        r#"{"key":"soon","value":3,"headers":[{"name":"deadline","value":"soon"}]}"#,
        r#"{"key":"slow","value":4}"#,
        r#"{"key":"g","headers":[{"name":"deadline","value":"2100-01-01T00:00:00Z"}],"value":5}"#,
    ];
    let long = format!(r#"{{"key":"{}","value":6}}"#, "l".repeat(50_000));
    let records: Vec<_> = records.map(str::to_owned).into_iter().chain([long]).collect();
    ship.append("orders", &records).await.unwrap();
    let script = r#"case $RECORD_KEY in
        third) test $RECORD_ATTEMPT = 3;;
        never) echo no such customer >&2; exit 7;;
        slow) exec sleep 60;;
        l*) head -c 204000 /dev/zero | tr '\0' x;;
        esac && echo '"done"'"#;
    let words = ["orders", "--attempts", "3", "--pause", "10ms", "--timeout", "500ms"];
    let more =
        ["--reply", "replies", "--consumer", "billing", "--max", "7", "--", "sh", "-c", script];
    let told = ship.node.call("on", &[&words[..], &more].concat()).await.unwrap();
    assert_eq!(told.code, Some(0), "{told:?}");
    let replies = read(&ship.node, "replies").await;
    let values: Vec<_> = replies.iter().map(|reply| reply["value"].as_str()).collect();
    assert_eq!(values, [Some("done"), None, None, None, None, Some("done"), None]);
    let why = "sh ended with exit code 7: no such customer (after 3 attempts)";
    assert_eq!(header(&replies[1], "error"), Some(why));
    assert!(header(&replies[2], "error").unwrap().contains("deadline, 2020-01-01T00:00:00.000Z,"));
    assert_eq!(header(&replies[3], "error"), Some("its deadline, `soon`, is no time"));
    assert!(header(&replies[4], "error").unwrap().contains("took longer than 500ms"));
    let why_not = header(&replies[6], "error").unwrap();
    assert!(why_not.contains("its reply was refused"), "there is no room for it: {why_not}");
    let list = ship.node.done("dead", &["list", "orders"]).await.unwrap();
    assert!(list.lines().count() == 6 && list.contains(why), "{list}");
    assert!(list.contains("billing:ship/orders/0@1~"), "{list}");
}

/// Appends this program's records, one by one, until they are acknowledged.
async fn feed(ship: &Ship, from: u64, count: u64) {
    let line = |n: u64| format!(r#"{{"key":"k{}","value":{n}}}"#, n % 5);
    let lines: Vec<_> = (from..from + count).map(line).collect();
    ship.append("commands", &lines).await.unwrap();
}

#[tokio::test]
async fn each_command_has_one_reply_in_order_whatever_is_killed() {
    let seed = std::env::var("LANDFALL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| landfall::entropy::number().unwrap());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let (ship, mut runs) = Ship::new().await.unwrap();
    const COUNT: u64 = 120;
    let (mut kills, mut restarts) = (0, 0);
    for part in 0..6 {
        feed(&ship, part * COUNT / 6, COUNT / 6).await;
        // The first renews its own lease at once by its name, the second is drawn anew.
        let words = ["commands", "--reply", "replies"];
        let sleepy = ["--", "sh", "-c", "sleep 0.005; cat"];
        let mut one = ship.on(&[&words[..], &["--member", "one"], &sleepy].concat());
        let mut two = ship.on(&[&words[..], &sleepy].concat());
        pause(Duration::from_millis(rng.below(400))).await;
        if rng.chance(1, 2) {
            runs.kill().await.unwrap();
            runs = ship.node.run_up().await.unwrap();
            restarts += 1;
            pause(Duration::from_millis(rng.below(400))).await;
        }
        one.kill().await.unwrap();
        two.kill().await.unwrap();
        kills += 2;
    }
    let mut last = ship.on(&["commands", "--reply", "replies", "--", "cat"]);
    let all = async || {
        let replies = read(&ship.node, "replies").await;
        (replies.len() as u64 >= COUNT).then_some(replies)
    };
    let replies = until("all commands have a reply", all).await.unwrap();
    last.kill().await.unwrap();
    check(&replies, COUNT);
    println!("{COUNT} commands, {kills} kills, {restarts} restarts of the node");
}

#[tokio::test]
async fn a_program_that_takes_longer_than_a_lease_keeps_its_record_and_one_that_is_killed_does_not()
{
    let (ship, _runs) = Ship::new().await.unwrap();
    feed(&ship, 0, 1).await;
    let words = ["commands", "--reply", "replies", "--"];
    // Seven seconds, and a lease of five.
    let mut slow = ship.on(&[&words[..], &["sh", "-c", "sleep 7; cat"]].concat());
    let members = async |count: usize| {
        let told = ship.node.done("consumer", &["show", "on-commands", "--json"]).await.ok()?;
        let told: serde_json::Value = serde_json::from_str(&told).ok()?;
        (told["members"].as_array()?.len() == count).then_some(())
    };
    until("it has joined", async || members(1).await).await.unwrap();
    let mut other = ship.on(&[&words[..], &["sh", "-c", "echo 99"]].concat());
    until("both are there", async || members(2).await).await.unwrap();
    let reply = async |count: usize| {
        let replies = read(&ship.node, "replies").await;
        (replies.len() == count).then_some(replies)
    };
    let replies = until("a reply", async || reply(1).await).await.unwrap();
    assert_eq!(replies[0]["value"], 0, "nobody else was given it meanwhile");
    slow.kill().await.unwrap();
    other.kill().await.unwrap();
    // What a killed one had is taken over within ten seconds.
    feed(&ship, 1, 1).await;
    let mut hangs = ship.on(&[&words[..], &["sleep", "20"]].concat());
    until("only it is there", async || members(1).await).await.unwrap();
    hangs.kill().await.unwrap();
    let killed = landfall::clock::monotonic();
    let mut other = ship.on(&[&words[..], &["cat"]].concat());
    until("another reply", async || reply(2).await).await.unwrap();
    let took = landfall::clock::monotonic().ms_since(killed);
    assert!(took < 10_000, "it took {took} ms");
    other.kill().await.unwrap();
}
