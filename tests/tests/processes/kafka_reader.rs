//! What a consumer in another language reads: Confluent's client for Python, by
//! `tests/kafka/reader.py`.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use landfall::kafka::murmur::partition;
use landfall_tests::broker::{self, Broker};
use landfall_tests::census::{Isolation, assert_whole, census};
use landfall_tests::injection::skipped;
use landfall_tests::process::Program;
use serde_json::{Value, json};

use crate::kafka::{append, fleet};

/// The Python that has the client, if it was made ready.
fn python() -> Option<PathBuf> {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().find(|folder| folder.join("kafka/reader").is_dir())?;
    Some(target.join("kafka/reader/bin/python"))
}

/// What the reader prints of a topic.
fn read(python: &Path, broker: &Broker, topic: &str) -> Vec<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka/reader.py");
    let mut command = Command::new(python);
    command.args([script, &broker.address().to_string(), topic]);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_consumer_in_python_reads_keys_values_and_headers_as_documented() {
    let test = "a_consumer_in_python_reads_keys_values_and_headers_as_documented";
    if !broker::is_possible(test) {
        return;
    }
    let Some(python) = python() else {
        return skipped(test, "`cargo xtask test --all` makes Python's client ready");
    };
    let (fleet, broker) = fleet().await;
    let _hub = fleet.hub.run_up().await.unwrap();
    let ship = fleet.ship("ship-1").await.unwrap();
    let records = [
        r#"{"key":"a","value":1,"timestamp":1700000000123,"headers":[{"name":"h","value":"x"}]}"#,
        r#"{"key":"a","value":"plain","form":"text","timestamp":1700000000124}"#,
        r#"{"key":"a","form":"tombstone","timestamp":1700000000125}"#,
        r#"{"value":"","form":"text","timestamp":0}"#,
    ];
    let words = ["--records", "--producer", "p"];
    append(&fleet, &ship, "whole", &records.map(str::to_owned), &words).await;
    ship.done("run", &["--until-synced"]).await.unwrap();
    let mut told = read(&python, &broker, "whole");
    let at = |told: &Value| told["birth"]["landfall.at"].as_str().unwrap().to_owned();
    told.sort_by_key(at);
    let wanted = [
        (b"a".as_slice(), json!(text(b"a")), json!(text(b"1")), 1_700_000_000_123_u64),
        (b"a", json!(text(b"a")), json!(text(b"plain")), 1_700_000_000_124),
        (b"a", json!(text(b"a")), Value::Null, 1_700_000_000_125),
        (b"ship-1", Value::Null, json!(""), 1),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for (offset, (told, (by, key, value, time))) in told.iter().zip(wanted).enumerate() {
        assert_eq!(
            (&told["key"], &told["value"], &told["timestamp"]),
            (&key, &value, &json!(time))
        );
        assert_eq!(told["partition"], partition(by, 6));
        let headers = if offset == 0 { json!([["h", text(b"x")]]) } else { json!([]) };
        assert_eq!(told["headers"], headers);
        let birth = |name: &str| told["birth"][name].as_str().unwrap_or_default().to_owned();
        assert!(birth("landfall.at").starts_with(&format!("ship-1/whole/0@{offset}~")), "{told}");
        assert_eq!(birth("landfall.hash").len(), 32, "{told}");
        assert!(birth("landfall.path").starts_with("ship-1@"), "{told}");
        assert!(birth("landfall.producer").ends_with(&format!(":{}", offset + 1)), "{told}");
        assert_eq!(birth("landfall.time"), if offset == 3 { "0" } else { "" });
    }
}

#[tokio::test]
async fn the_demonstration_with_kafka_ends_with_each_record_there_once() {
    let test = "the_demonstration_with_kafka_ends_with_each_record_there_once";
    if !broker::is_possible(test) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).await.unwrap();
    let program = Program::find().unwrap();
    let told = program.call(&["demo", "--kafka", &broker.address().to_string()]).await.unwrap();
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.contains("5,000 records, each once"), "{told:?}");
    // What it says can be looked at is there.
    let topic = told.out.split_whitespace().skip_while(|word| *word != "--topic").nth(1).unwrap();
    let seen = census(broker.address(), topic, Isolation::Committed).unwrap();
    assert_whole(&seen);
    assert_eq!(seen.len(), 5_000);
}
