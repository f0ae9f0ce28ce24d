//! `landfall view verify`: rows beside those that the log makes.

use super::*;

/// Appends the sample and waits until the view has it.
async fn filled(view: &str) -> (Alone, Running) {
    let alone = Alone::with(view).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    alone.append(&lines).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 5_000).await;
    (alone, runs)
}

fn files(alone: &Alone) -> Vec<String> {
    let found = std::fs::read_dir(&alone.node.path).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("views.latest")).collect()
}

#[tokio::test]
async fn a_view_is_compared_with_the_log_while_the_node_runs_and_while_it_does_not() {
    let (alone, runs) = filled(LATEST).await;
    let said = alone.node.done("view", &["verify", "latest"]).await.unwrap();
    assert!(said.starts_with("latest: 4,264 rows of 5,000 records up to commit"), "{said}");
    assert_eq!(files(&alone), [""; 0], "nothing is left of the comparison");
    // What the statements say twice is not in the rows: a row too many, one too few, one changed.
    let change = "DELETE FROM latest WHERE mmsi = (SELECT min(mmsi) FROM latest); \
         UPDATE latest SET n = n + 1 WHERE mmsi = (SELECT max(mmsi) FROM latest); \
         INSERT INTO latest VALUES('ghost', 1, 1, 1, 'ship', 1, 1)";
    let file = rusqlite::Connection::open(alone.node.path.join(views::FILE_NAME)).unwrap();
    file.busy_timeout(Duration::from_secs(10)).unwrap();
    file.execute_batch(change).unwrap();
    drop(file);
    let outcome = alone.node.call("view", &["verify", "latest"]).await.unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.out.contains("latest, too many: 'ghost', 1.0, 1.0, 1"), "{}", outcome.out);
    let all = alone.node.call("view", &["verify", "latest", "--json"]).await.unwrap();
    let verdict: Value = serde_json::from_str(&all.out).unwrap();
    let table = &verdict["tables"][0];
    assert_eq!((&table["surplus"], &table["missing"]), (&Value::from(2), &Value::from(2)));
    assert_eq!((&table["rows"], &table["rows_again"]), (&Value::from(4_264), &Value::from(4_264)));
    assert!(runs.status().await.is_some());
    assert!(runs.terminate().await.unwrap().success());
    let stopped = alone.node.call("view", &["verify", "latest", "--json"]).await.unwrap();
    assert_eq!((stopped.code, stopped.out), (Some(1), all.out), "also without a running node");
    let none = alone.node.call("view", &["verify", "lates"]).await.unwrap();
    assert_eq!(none.code, Some(3), "{none:?}");
}

#[tokio::test]
async fn a_view_is_shown_as_it_was_while_the_node_runs_and_while_it_does_not() {
    let (alone, runs) = filled(LATEST).await;
    let sum = ["--sql", "SELECT sum(n) AS n, count(*) AS vessels FROM latest", "--json"];
    let past = async |place: &str| {
        let words = [&["at", "latest", place][..], &sum].concat();
        alone.node.done("view", &words).await.unwrap()
    };
    let early = past("ship/ais/0@99").await;
    assert!(early.starts_with("{\"n\":100,"), "{early}");
    let now = past("ship/ais/0@4999").await;
    assert_eq!(now, "{\"n\":5000,\"vessels\":4264}\n");
    let first = alone.node.done("view", &["at", "latest", "ship/ais/0@0"]).await.unwrap();
    assert_eq!(first.lines().count(), 2, "one row below its heads: {first}");
    assert_eq!(files(&alone), [""; 0], "nothing is left of it");
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(past("ship/ais/0@99").await, early, "also without a running node");
    let none = alone.node.call("view", &["at", "latest", "ship/ais/0@5000"]).await.unwrap();
    assert!(none.code == Some(3) && none.err.contains("no record ship/ais/0@5000"), "{none:?}");
}

#[tokio::test]
async fn what_was_swept_is_no_difference_and_records_may_come_meanwhile() {
    let retention = "[retention]\nsql = 'DELETE FROM latest WHERE at < :watermark - 60000'\n\
         every = '1s'\n[on.ais]";
    let swept = LATEST.replace("[on.ais]", retention);
    let (alone, mut runs) = filled(&swept).await;
    let rows = until("old rows are swept", async || {
        let rows = alone.ask("SELECT count(*) AS n FROM latest").await.unwrap();
        rows[0]["n"].as_u64().filter(|rows| *rows < 4_264)
    });
    rows.await.unwrap();
    let sample = sample();
    let line = sample.lines().next_back().unwrap();
    let (one, two) = tokio::join!(alone.node.call("view", &["verify", "latest"]), async {
        for _ in 0..20 {
            alone.append(&[line]).await.unwrap();
        }
    });
    let ((), outcome) = (two, one.unwrap());
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    all(&mut runs, 5_020).await;
}
