//! Views and derived topics of a node that is killed at random while records come, loses its
//! views' file, and gets other definitions.

use bytes::Bytes;
use http_body_util::Full;
use landfall::api::Client;
use tokio::sync::watch;

use super::derived::{check, deriving, remove, until_derived};
use super::*;

/// Batches that are appended; `LANDFALL_BATCHES` says how many others.
const BATCHES: u64 = 200;
/// The most records of a batch.
const RECORDS_MAX: u64 = 20;
/// The longest that a node runs when it is up.
const RUN_MS_MAX: u64 = 200;

/// Positions in each hour, and the fast ones.
const TRAFFIC: &str = r#"
[aggregate]
topic = "ais"
by = { class = "coalesce(:value->>'$.class', '?')" }
columns = { positions = "count", fastest = "max($.sog)" }
window = { size = "1h" }
"#;
const QUICK: &str = r#"
[select]
topic = "ais"
columns = { sog = "$.sog" }
where = ":value->>'$.sog' > 20"
"#;
const DUMPS: [&str; 3] = [
    DUMP,
    "SELECT class, start, positions, fastest FROM traffic ORDER BY 1, 2",
    "SELECT key, sog, at, \"offset\" FROM quick ORDER BY \"offset\"",
];

/// Appends batches until there are so many, each until it is acknowledged. Returns the records.
async fn append(client: Client, seed: u64, batches: u64, done: watch::Sender<u64>) -> u64 {
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let mut rng = Rng::new(seed);
    let mut sequence = 1;
    for batch in 1..=batches {
        let count = 1 + rng.below(RECORDS_MAX);
        let from = rng.below(lines.len() as u64 - count) as usize;
        let text = lines[from..from + count as usize].join("\n") + "\n";
        let query =
            format!("key_field=mmsi&time_field=time&producer=feed&first_sequence={sequence}");
        // A node that is killed is up again soon, and knows which lines it has.
        while !is_acknowledged(&client, &query, text.clone()).await {
            pause(Duration::from_millis(5)).await;
        }
        sequence += count;
        done.send_replace(batch);
    }
    sequence - 1
}

async fn is_acknowledged(client: &Client, query: &str, text: String) -> bool {
    let Ok(mut answer) = client.append("ais", query, Full::new(Bytes::from(text))).await else {
        return false;
    };
    while let Ok(Some(line)) = answer.next().await {
        if line.starts_with(b"{\"done\"") {
            return true;
        }
    }
    false
}

async fn dumps(alone: &Alone) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    for sql in DUMPS {
        all.push(alone.ask(sql).await.unwrap());
    }
    all
}

#[tokio::test]
async fn views_that_are_killed_equal_those_that_are_made_anew_and_derive_each_record_once() {
    let wanted = std::env::var("LANDFALL_BATCHES").ok().and_then(|text| text.parse().ok());
    let batches = wanted.unwrap_or(BATCHES);
    let seed = std::env::var("LANDFALL_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| landfall::entropy::number().unwrap());
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let alone = deriving().await.unwrap();
    let folder = alone.node.path.join("views");
    std::fs::write(folder.join("traffic.toml"), TRAFFIC).unwrap();
    std::fs::write(folder.join("quick.toml"), QUICK).unwrap();
    let first = std::fs::read_to_string(folder.join("latest.toml")).unwrap();
    let other = first.replace("lon REAL,", "lon REAL, area TEXT AS (round(lat)),");
    let path = alone.node.path.join(views::FILE_NAME);
    let (done, appended) = watch::channel(0);
    let feeding = tokio::spawn(append(alone.node.client(), seed, batches, done));
    let (mut kills, mut losses, mut changes) = (0, 0, 0);
    while *appended.borrow() < batches {
        assert!(!feeding.is_finished(), "nobody appends");
        let mut runs = alone.node.run(&[]).unwrap();
        // One in four is killed while it starts.
        if !rng.chance(1, 4) {
            runs.up().await.unwrap();
        }
        let mut came = appended.clone();
        let ends = came.wait_for(|done| *done == batches);
        let _ = tokio::time::timeout(Duration::from_millis(rng.below(RUN_MS_MAX)), ends).await;
        runs.kill().await.unwrap();
        kills += 1;
        if rng.chance(1, 8) {
            remove(&path);
            losses += 1;
        }
        if rng.chance(1, 8) {
            let definition = if changes % 2 == 0 { &other } else { &first };
            std::fs::write(folder.join("latest.toml"), definition).unwrap();
            changes += 1;
        }
    }
    let records = feeding.await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    until_derived(&alone.node, &mut runs, records).await;
    let found = dumps(&alone).await;
    let derived = check(&alone.node).await;
    assert!(runs.terminate().await.unwrap().success());
    remove(&path);
    let mut runs = alone.node.run_up().await.unwrap();
    until_derived(&alone.node, &mut runs, records).await;
    assert_eq!(dumps(&alone).await, found, "made anew, the rows are others");
    assert_eq!(check(&alone.node).await, derived, "what is derived is there once");
    assert!(runs.terminate().await.unwrap().success());
    println!(
        "{batches} batches of {records} records, {kills} kills, {losses} lost files, {changes} \
         changed definitions, {derived} derived records"
    );
}
