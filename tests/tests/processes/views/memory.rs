//! What a client or a record may take of a node's memory through SQL: no more than is stated.

use landfall::api::{ApiError, ClientError, ErrorCode};

use landfall_tests::budgets::budget;

use super::*;
use crate::memory::heap_at_most;

/// The program with views, stripped, takes less.
const PROGRAM: u64 = 6 << 20;

/// Queries that grow without end: by what is sorted, by one row, by how values are read.
fn greedy() -> Vec<String> {
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)";
    let long = "WITH b(x) AS MATERIALIZED (SELECT hex(randomblob(50000)) FROM json_each(\
         '[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30]'))";
    let many = |column: &str| vec![column; 100].join(", ");
    vec![
        format!("{endless} SELECT x FROM c ORDER BY hex(randomblob(1000000))"),
        format!("{endless} SELECT x FROM c GROUP BY hex(randomblob(1000)) ORDER BY 1"),
        format!("SELECT {}", many("hex(randomblob(1500000))")),
        format!("{long} SELECT {} FROM b", many("group_concat(x)")),
        format!("SELECT {}", many("zeroblob(4000000)")),
    ]
}

/// The most memory that a process ever held, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// As in [`crate::memory`], for the program with views.
#[tokio::test]
async fn what_a_node_with_a_view_takes_of_memory_is_within_its_budget() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let mut runs = alone.node.run_up().await.unwrap();
    for _ in 0..4 {
        alone.append(&lines).await.unwrap();
    }
    all(&mut runs, 20_000).await;
    let memory = runs.until("status", |status| Some(status.memory)).await.unwrap();
    println!("{memory:?}");
    assert!(heap_at_most(&memory) + PROGRAM <= budget("rss_view"), "{memory:?}");
    assert!(runs.terminate().await.unwrap().success());
}

#[tokio::test]
async fn greedy_queries_are_refused_and_the_views_go_on() {
    let alone = Alone::with(LATEST).await.unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 0).await;
    let asking: Vec<_> = greedy()
        .into_iter()
        .map(|sql| {
            let client = alone.node.client();
            tokio::spawn(async move {
                let request = QueryRequest { time_max_ms: 300_000, ..QueryRequest::new(&sql) };
                let mut answers = Vec::new();
                for _ in 0..6 {
                    answers.push(client.query(&request).await);
                }
                (sql, answers)
            })
        })
        .collect();
    for part in lines.chunks(500) {
        alone.append(part).await.unwrap();
    }
    for asked in asking {
        let (sql, answers) = asked.await.unwrap();
        for answer in answers {
            let Err(ClientError::Refused(ApiError { code, hint, .. })) = &answer else {
                panic!("{sql}: {answer:?}")
            };
            assert_eq!((*code, hint.is_some()), (ErrorCode::TooLarge, true), "{sql}: {answer:?}");
        }
    }
    let view = all(&mut runs, 5_000).await;
    assert_eq!((view.errors, view.generation), (0, 1));
    assert_eq!(alone.ask("SELECT sum(n) AS n FROM latest").await.unwrap()[0]["n"], 5_000);
    // 32 MiB of SQLite's, an answer at a time of each of four queries, and the node itself.
    let peak = peak_kib(runs.id().unwrap());
    assert!(peak < 128 << 10, "{peak} KiB");
    assert!(runs.terminate().await.unwrap().success());
}

#[tokio::test]
async fn a_row_wider_than_an_answer_is_refused_before_it_is_copied() {
    let alone = Alone::with(LATEST).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 0).await;
    let columns = vec!["x"; 1_000].join(", ");
    let sql =
        format!("WITH b(x) AS MATERIALIZED (SELECT randomblob(4000000)) SELECT {columns} FROM b");
    let answer = runs.client().query(&QueryRequest::new(sql)).await;
    assert!(matches!(&answer, Err(ClientError::Refused(e)) if e.code == ErrorCode::TooLarge));
    let peak = peak_kib(runs.id().unwrap());
    assert!(peak < 128 << 10, "{peak} KiB");
}

/// What the kernel lets a node with views take, with what the system keeps of its files.
#[cfg(target_os = "linux")]
const CAPPED: u64 = 64 << 20;

#[cfg(target_os = "linux")]
#[tokio::test]
async fn views_and_queries_stay_within_a_cap() {
    use landfall_tests::memory_group::MemoryGroup;
    let Some(group) = MemoryGroup::make("views_and_queries_stay_within_a_cap", CAPPED) else {
        return;
    };
    let alone = Alone::with(LATEST).await.unwrap();
    crate::memory::cap(&alone.node, "48MiB");
    let held = NodeDir::new(&group.program(&alone.node.program), alone.node.path.clone());
    let mut runs = held.run_up().await.unwrap();
    let sample = sample();
    let asking: Vec<_> = greedy()
        .into_iter()
        .map(|sql| {
            let client = alone.node.client();
            tokio::spawn(async move {
                let request = QueryRequest { time_max_ms: 300_000, ..QueryRequest::new(&sql) };
                client.query(&request).await.map(|_| ()).map_err(|error| (sql, error))
            })
        })
        .collect();
    for part in sample.lines().collect::<Vec<_>>().chunks(500) {
        alone.append(part).await.unwrap();
    }
    for asked in asking {
        let (sql, error) = asked.await.unwrap().unwrap_err();
        assert!(
            matches!(&error, ClientError::Refused(e) if e.code == ErrorCode::TooLarge),
            "{sql}: {error:?}"
        );
    }
    all(&mut runs, 5_000).await;
    let memory = runs.until("status", |status| Some(status.memory)).await.unwrap();
    println!("{memory:?}, {} MiB with files", group.peak() >> 20);
    assert!(crate::memory::heap_at_most(&memory) <= 48 << 20, "{memory:?}");
    assert!(runs.terminate().await.unwrap().success());
    assert_eq!(group.kills(), 0);
}

/// One record makes 250,000 rows of 150 bytes, more than SQLite may hold, and two indexes of them.
const WIDE: &str = r#"
ddl = """
CREATE TABLE latest(id TEXT, place TEXT);
CREATE INDEX by_place ON latest(place);
CREATE INDEX by_id ON latest(id);
"""
[on.ais]
put = """
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 250000)
INSERT INTO latest SELECT x, printf('%0130d', x * 7919 % 250000) FROM c
"""
"#;

#[tokio::test]
async fn a_view_larger_than_the_memory_is_made_anew() {
    let alone = Alone::with(WIDE).await.unwrap();
    alone.append(&[r#"{"mmsi":"a","time":1}"#]).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 1).await;
    assert!(runs.terminate().await.unwrap().success());
    let changed = WIDE.replace("place TEXT", "place TEXT NOT NULL");
    std::fs::write(alone.node.path.join("views/latest.toml"), changed).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    let in_place = |status: Status| {
        status.views.into_iter().find(|view| view.generation == 2 && view.caught_up)
    };
    runs.until("the new generation", in_place).await.unwrap();
    let found = alone.ask("SELECT count(*) AS n FROM latest WHERE place > ''").await.unwrap();
    assert_eq!(found[0]["n"], 250_000);
    let peak = peak_kib(runs.id().unwrap());
    assert!(peak < 96 << 10, "{peak} KiB");
}
