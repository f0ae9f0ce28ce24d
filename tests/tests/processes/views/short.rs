//! Views in a few words, on a running node.

use super::*;

const FORMS: &str = r#"
[view.latest.latest]
topic = "ais"
key = "mmsi"
columns = { lat = "$.lat", lon = "$.lon" }

[view.per_degree.aggregate]
topic = "ais"
of = "latest"
columns = { vessels = "count", fastest = "max($.sog)" }

[view.per_degree.aggregate.by]
lat = "CAST(:value->>'$.lat' + 180 AS INTEGER) - 180"
lon = "CAST(:value->>'$.lon' + 180 AS INTEGER) - 180"

[view.speed_alarm.select]
topic = "ais"
key = "mmsi"
columns = { name = "$.name", sog = "$.sog" }
where = ":value->>'$.sog' > 20"

[view.traffic.aggregate]
topic = "ais"
by = { class = "coalesce(:value->>'$.class', '-')" }
columns = { positions = "count" }
window = { size = "2s" }
"#;

#[tokio::test]
async fn positions_alarms_and_counts_take_a_few_words() {
    let alone = Alone::with(LATEST).await.unwrap();
    std::fs::remove_dir_all(alone.node.path.join("views")).unwrap();
    alone.node.configure(FORMS).unwrap();
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    alone.append(&lines).await.unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    let every = |status: Status| {
        let views = status.views.iter();
        (views.filter(|view| view.records == 5_000 && view.caught_up).count() == 4).then_some(())
    };
    runs.until("all views have all records", every).await.unwrap();
    let one = async |sql: &str| alone.ask(sql).await.unwrap()[0]["n"].clone();
    assert_eq!(one("SELECT count(*) AS n FROM latest").await, 4_264);
    assert_eq!(one("SELECT sum(vessels) AS n FROM per_degree").await, 4_264);
    let busiest = "SELECT lat || ' ' || lon AS n FROM per_degree ORDER BY vessels DESC, 1 LIMIT 1";
    let again = "SELECT (CAST(lat + 180 AS INT) - 180) || ' ' || (CAST(lon + 180 AS INT) - 180) \
         AS n FROM latest GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1";
    assert_eq!(one(busiest).await, one(again).await);
    let fast = |line: &&&str| {
        let value: Value = serde_json::from_str(line).unwrap();
        value["sog"].as_f64().is_some_and(|sog| sog > 20.0)
    };
    let fast = lines.iter().filter(fast).count();
    assert_eq!(one("SELECT count(*) AS n FROM speed_alarm").await, fast);
    assert_eq!(one("SELECT sum(positions) AS n FROM traffic").await, 5_000);
    let sql = alone.node.done("view", &["explain", "traffic"]).await.unwrap();
    for part in ["CREATE TABLE traffic_rows", "ON CONFLICT", "every 2s", "UPDATE traffic_clock"] {
        assert!(sql.contains(part), "{part} is not in {sql}");
    }
}

#[tokio::test]
async fn the_last_window_closes_although_nothing_comes_any_more() {
    let alone = Alone::with(LATEST).await.unwrap();
    let forms = FORMS.split_once("[view.traffic").unwrap().1;
    alone.node.configure(&format!("[view.traffic{forms}")).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    all(&mut runs, 0).await;
    // In the window that is open now, by the clock.
    let now = landfall::clock::wall().ms();
    let line = format!("{{\"mmsi\":\"a\",\"lat\":1,\"class\":\"A\",\"time\":{now}}}");
    alone.append(&[&line]).await.unwrap();
    all(&mut runs, 1).await;
    let closed = until("the window is closed", async || {
        let rows = alone.ask("SELECT closed, positions FROM traffic").await.unwrap();
        (rows.first()?["closed"] == 1).then_some(rows)
    });
    let rows = closed.await.unwrap();
    assert_eq!((rows.len(), &rows[0]["positions"]), (1, &Value::from(1)));
    let view = all(&mut runs, 1).await;
    assert_eq!(view.records, 1, "no record came");
}
