//! Topics that views and rules derive, on a real node that is killed, restored and told otherwise.

use std::path::Path;

use landfall_tests::process::Outcome;

use super::*;

/// The newest position of each vessel, and an alarm for each that is fast.
const FAST: &str = r#"
emit.alarms = """
SELECT :key AS key, json_object('sog', :value->>'$.sog') AS value WHERE :value->>'$.sog' > 15
"""
"#;
/// Every position, as it is, in one of two topics.
const ROUTE: &str = r#"
[rule]
topic = "ais"
[rule.to]
"ais.slow" = "coalesce(:value->>'$.sog', 0) <= 5"
"ais.quick" = ":value->>'$.sog' > 5"
"#;
/// An alarm of an alarm.
const CHAIN: &str = r#"
[rule]
topic = "alarms"
to = "alarms.very"
where = ":value->>'$.sog' > 20"
value = { knots = "$.sog", of = ":key" }
"#;

/// A node whose views derive topics.
pub(super) async fn deriving() -> io::Result<Alone> {
    let alone = Alone::with(&format!("{LATEST}{FAST}")).await?;
    std::fs::write(alone.node.path.join("views/route.toml"), ROUTE)?;
    std::fs::write(alone.node.path.join("views/chain.toml"), CHAIN)?;
    Ok(alone)
}

/// All that views derive of what the first of a chain has seen is durable, and a view has seen so
/// many records.
fn derived(view: &str, records: u64) -> impl FnMut(Status) -> Option<()> {
    move |status| {
        let find = |name: &str| status.views.iter().find(|view| view.view == name);
        let all = status.views.iter().all(|view| {
            view.caught_up && view.outbox == 0 && view.behind_commits == 0 && view.next.is_none()
        });
        let view = find(view)?;
        (all && view.records + view.errors == records).then_some(())
    }
}

pub(super) async fn until_derived(node: &NodeDir, runs: &mut Running, records: u64) {
    // Each view hears by itself of what has come, the next of a chain last.
    for view in ["latest", "route"] {
        let what = format!("all that {view} derives of {records} records is durable");
        runs.until(&what, derived(view, records)).await.unwrap();
    }
    let alarms = read(node, "alarms").await.len() as u64;
    runs.until("the chain has seen all alarms", derived("chain", alarms)).await.unwrap();
}

async fn read(node: &NodeDir, topic: &str) -> Vec<Value> {
    let out = node.done("read", &[topic, "--from", "earliest"]).await.unwrap();
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn header(record: &Value, name: &str) -> String {
    let headers = record["headers"].as_array().unwrap();
    let found = headers.iter().find(|header| header["name"] == name).unwrap();
    found["value"].as_str().unwrap().to_owned()
}

fn coordinates(record: &Value) -> String {
    let epoch = record["epoch"].as_str().unwrap().trim_start_matches('0');
    let (origin, topic) = (record["origin"].as_str().unwrap(), record["topic"].as_str().unwrap());
    format!("{origin}/{topic}/{}@{}~{epoch}", record["partition"], record["offset"])
}

/// The causes of a topic's records, and what must be there: those of `of` that hold.
async fn compare(node: &NodeDir, of: &str, topic: &str, holds: impl Fn(f64) -> bool) -> usize {
    let causes = read(node, of).await;
    let sog = |record: &&Value| holds(record["value"]["sog"].as_f64().unwrap_or(0.0));
    let expected: Vec<_> = causes.iter().filter(sog).map(coordinates).collect();
    let found: Vec<_> =
        read(node, topic).await.iter().map(|r| header(r, "landfall.cause")).collect();
    assert_eq!(found.len(), expected.len(), "{topic}");
    assert_eq!(found, expected, "{topic}");
    found.len()
}

/// How many records are derived, if all of them are what they must be.
pub(super) async fn check(node: &NodeDir) -> usize {
    let alarms = compare(node, "ais", "alarms", |sog| sog > 15.0).await;
    let very = compare(node, "alarms", "alarms.very", |sog| sog > 20.0).await;
    let slow = compare(node, "ais", "ais.slow", |sog| sog <= 5.0).await;
    let quick = compare(node, "ais", "ais.quick", |sog| sog > 5.0).await;
    assert!(alarms > very && very > 0 && slow > 0 && quick > 0, "{alarms} {very} {slow} {quick}");
    alarms + very + slow + quick
}

/// How many dead letters there are, if each record that the view refuses has one.
async fn set_aside(node: &NodeDir) -> usize {
    let records = read(node, "ais").await;
    let refused = records.iter().filter(|record| record["value"]["lat"].is_null());
    let expected: Vec<_> = refused.map(coordinates).collect();
    let letters = read(node, "ais.dead").await;
    let found: Vec<_> = letters.iter().map(|letter| header(letter, "dead-record")).collect();
    assert_eq!(found, expected);
    found.len()
}

pub(super) fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        // What is not there need not go.
        let _ = std::fs::remove_file(path.with_file_name(format!("views.db{end}")));
    }
}

#[tokio::test]
async fn what_is_derived_is_there_once_whatever_is_killed_or_lost() {
    let alone = deriving().await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let seed = landfall::entropy::number().unwrap();
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let path = alone.node.path.join(views::FILE_NAME);
    let mut appended = 0;
    for round in 0..20 {
        let from = rng.below(4_000) as usize;
        let poison = format!("{{\"mmsi\":\"nowhere {round}\",\"time\":{round}}}");
        let mut batch = lines[from..from + 1_000].to_vec();
        batch.insert(rng.below(1_000) as usize, &poison);
        alone.append(&batch).await.unwrap();
        appended += 1_001;
        let runs = alone.node.run(&[]).unwrap();
        pause(Duration::from_millis(rng.below(300))).await;
        runs.kill().await.unwrap();
        if round % 5 == 4 {
            remove(&path);
        }
    }
    let mut runs = alone.node.run_up().await.unwrap();
    until_derived(&alone.node, &mut runs, appended).await;
    check(&alone.node).await;
    assert_eq!(set_aside(&alone.node).await, 20);
    let verdict = alone.node.done("view", &["verify", "latest"]).await.unwrap();
    assert!(verdict.contains("are what the log says"), "{verdict}");
    assert!(runs.terminate().await.unwrap().success());
}

#[tokio::test]
async fn a_derived_topic_is_written_by_nobody_else_and_passed_on_with_its_causes() {
    let alone = deriving().await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    alone.append(&[r#"{"mmsi":"a","lat":1,"sog":30,"time":1}"#]).await.unwrap();
    until_derived(&alone.node, &mut runs, 1).await;
    let very = read(&alone.node, "alarms.very").await.pop().unwrap();
    assert_eq!(very["value"], serde_json::json!({"knots": 30, "of": "a"}));
    assert_eq!(header(&very, "landfall.by"), "chain/1");
    let alarm = read(&alone.node, "alarms").await.pop().unwrap();
    assert_eq!(header(&very, "landfall.cause"), coordinates(&alarm));
    traced(&alone.node, &very, &alarm).await;
    let path = alone.node.path.with_extension("mine");
    std::fs::write(&path, "{}\n").unwrap();
    let path = path.to_string_lossy();
    let words = ["alarms", &*path];
    let told = alone.node.call("append", &words).await.unwrap().err;
    assert!(told.contains("`alarms` is derived by the view `latest`"), "{told}");
    assert!(runs.terminate().await.unwrap().success());
    let list = alone.node.done("view", &["list", "--json"]).await.unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(
        (&list[1]["derives"], &list[1]["derived"]),
        (&serde_json::json!(["alarms"]), &1.into())
    );
}

/// An alarm is traced to the position that it is derived from, and to what is derived from it.
async fn traced(node: &NodeDir, very: &Value, alarm: &Value) {
    let trace = async |of: &str| {
        let out = node.done("trace", &[of, "--json"]).await.unwrap();
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let nothing = serde_json::json!([]);
    let told = trace(&coordinates(alarm)).await;
    assert_eq!(told["cause"]["coordinates"], header(alarm, "landfall.cause"));
    assert_eq!((&told["record"]["key"], &told["path"]), (&Value::from("a"), &nothing));
    let derived = serde_json::json!([{"coordinates": coordinates(very), "by": "chain/1"}]);
    assert_eq!((&told["derived"], &told["letters"]), (&derived, &nothing));
    assert_eq!(told["views"][0]["view"], "chain");
    assert_eq!(told["views"][0]["passed"], true);
    let first = trace("ship/ais/0@0").await;
    assert_eq!((&first["cause"], first["derived"].as_array().unwrap().len()), (&Value::Null, 2));
    let shown = node.done("trace", &["ship/ais/0@0"]).await.unwrap();
    assert!(shown.contains(&coordinates(alarm)) && shown.contains("by latest/1"), "{shown}");
    let none = node.call("trace", &["ship/ais/0@1"]).await.unwrap();
    assert!(none.code == Some(3) && none.err.contains("no record ship/ais/0@1"), "{none:?}");
}

#[tokio::test]
async fn a_node_does_not_start_with_topics_that_feed_each_other() {
    let alone = deriving().await.unwrap();
    let back = "[rule]\ntopic = 'alarms.very'\nto = 'ais'\n";
    std::fs::write(alone.node.path.join("views/back.toml"), back).unwrap();
    let Outcome { code, err: told, .. } = alone.node.call("run", &[]).await.unwrap();
    assert_eq!(code, Some(2), "{told}");
    let cycle = "ais → alarms (view latest) → alarms.very (view chain) → ais (view back)";
    assert!(told.contains(cycle), "{told}");
}
