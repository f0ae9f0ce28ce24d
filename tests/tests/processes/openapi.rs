//! The document that a node serves of its API says what the node does: each path, parameter,
//! status and error that it states is shown by a real node, and each answer is as it says.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use landfall_simulation::rng::Rng;
use landfall_tests::openapi::Operation;
use landfall_tests::process::{NodeDir, PATIENCE, Running, until};
use landfall_tests::small_disk::SmallDisk;
use landfall_tests::soak::pair::free_port;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::fleet::Fleet;

mod asked;
mod consumers;

use asked::{Answer, Asked, Way};

/// Connections that the node serves at a time.
const CONNECTIONS: usize = 8;
/// Where records are.
const AIS: &str = "/v1/topics/ais/records";

fn settings(tcp: SocketAddr, data: &Path) -> String {
    let token = data.join("nav.token").display().to_string();
    format!(
        "create_topics = false\n[api]\ntcp = \"{tcp}\"\nconnections_max = {CONNECTIONS}\n\
         [[topic]]\nname = \"ais\"\n[[topic]]\nname = \"urgent\"\nlane = \"urgent\"\n\
         [[application]]\nname = \"nav\"\ntoken_file = \"{token}\"\n\
         [view.latest.latest]\ntopic = \"ais\"\ncolumns = {{ sog = \"$.sog\" }}\n\
         [view.never.rule]\ntopic = \"ais\"\nto = \"ais.never\"\nwhere = \"1 = 2\"\n\
         [view.halts]\nddl = \"CREATE TABLE halts(a INTEGER NOT NULL)\"\non_error = \"halt\"\n\
         [view.halts.on.ais]\nput = \"INSERT INTO halts VALUES(:value->>'$.a')\"\n"
    )
}

#[tokio::test]
async fn what_the_document_says_of_the_api_is_what_the_node_does() {
    let fleet = Fleet::new(Default::default()).await.unwrap();
    let seed = landfall::entropy::number().unwrap();
    let port = free_port(&mut Rng::new(seed)).unwrap();
    let tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A setting of the node itself must stand before all tables.
    let path = fleet.hub.path.join(landfall::config::FILE_NAME);
    let made = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, settings(tcp, &fleet.hub.path).replacen("[api]", &(made + "[api]"), 1))
        .unwrap();
    let hub = fleet.hub.run_up().await.unwrap();
    let way = Way::to(&fleet.hub);
    let mut asked = Asked::of(&way).await;

    appends(&mut asked, &way).await;
    groups(&mut asked, &way).await;
    reads(&mut asked, &way).await;
    consumers::all(&mut asked, &way).await;
    node(&mut asked, &way).await;
    views(&mut asked, &way, &fleet.hub.path).await;
    operators(&mut asked, &way, &fleet).await;
    parameters_are_all_stated(&mut asked, &way).await;
    full_lane(&mut asked, &fleet).await;
    let has_small_disk = full_disk(&mut asked, &fleet).await;
    strangers(&mut asked, tcp, &fleet.hub.path).await;
    too_many(&mut asked, &way).await;
    stop(&mut asked, hub, &way).await;

    let mut missing = asked.not_shown();
    // Where no small disk can be had, that was said.
    missing.retain(|what| has_small_disk || what != "disk_full");
    assert_eq!(missing, Vec::<String>::new(), "stated, and not shown");
}

async fn appends(asked: &mut Asked, way: &Way) {
    let all = "key_field=mmsi&time_field=t&partition=0&producer=p&first_sequence=1&skip_bad=true";
    let three = "{\"mmsi\":\"a\",\"t\":1,\"sog\":1}\noops\n{\"mmsi\":\"b\",\"t\":2,\"sog\":2}\n";
    let answer = asked.ask(way, &format!("POST {AIS}?{all}"), three, 200).await;
    assert!(answer.body.contains("\"through_line\":3"), "{answer:?}");
    let whole = "{\"value\":\"text\",\"headers\":[{\"name\":\"by\",\"value\":\"x\"}]}\n";
    asked.ask(way, &format!("POST {AIS}?lines=records"), whole, 200).await;
    asked.ask(way, &format!("POST {AIS}"), "1\noops\n", 200).await;
    asked.ask(way, &format!("POST {AIS}"), "oops\n", 400).await;
    asked.ask(way, &format!("POST {AIS}?partition=x"), "1\n", 400).await;
    asked.ask(way, "POST /v1/topics/_sites/records", "1\n", 403).await;
    asked.ask(way, "POST /v1/topics/other/records", "1\n", 404).await;
    asked.ask(way, &format!("POST {AIS}"), &"9".repeat(300_000), 413).await;
}

/// A look into the past of a view, as it is to be asked for and as it is not.
async fn past(asked: &mut Asked, way: &Way) {
    let at = |view: &str| format!("POST /v1/views/{view}/at");
    let body = |coordinates: &str, sql: &str, rows: u64| {
        json!({"coordinates": coordinates, "sql": sql, "rows_max": rows, "time_max_ms": 5_000,
            "accept_loss": true})
        .to_string()
    };
    let first = |sql: &str| body("hub/ais/0@0", sql, 10);
    asked.ask(way, &at("latest"), &first("SELECT * FROM latest"), 200).await;
    asked.ask(way, &at("latest"), &first("DELETE FROM latest"), 400).await;
    asked.ask(way, &at("latest"), &body("hub/ais/0@0", "SELECT 1", 0), 400).await;
    asked.ask(way, &at("latest"), &body("hub", "SELECT 1", 1), 400).await;
    asked.ask(way, &at("latest"), &body("hub/ais/0@7777", "SELECT 1", 1), 404).await;
    asked.ask(way, &at("nobody"), &first("SELECT 1"), 404).await;
    asked.ask(way, &at("never"), &first("SELECT 1"), 409).await;
    asked.ask(way, &at("latest"), &" ".repeat(70_000), 413).await;
}

async fn groups(asked: &mut Asked, way: &Way) {
    let record = json!({"topic": "ais", "partition": 0, "key": "a", "value": {"sog": 3},
        "form": "json", "headers": [{"name": "by", "value": "x"}], "timestamp": "2022-01-03"});
    let of = |record: &Value, condition: &Value| {
        json!({"records": [record], "if_last": [condition]}).to_string()
    };
    let met = json!({"topic": "ais", "partition": 0, "key": "a", "offset": 4});
    let unmet = json!({"topic": "ais", "key": "b"});
    let head = "Idempotency-Key: one\r\n";
    let body = of(&record, &met);
    let first = asked.ask_with(way, "POST /v1/groups", head, &body, 200).await;
    assert!(first.body.contains("\"count\":1}],\"duplicates\":0}"), "{first:?}");
    let again = asked.ask_with(way, "POST /v1/groups", head, &body, 200).await;
    assert!(again.body.starts_with("{\"written\":[],\"duplicates\":1}"), "{again:?}");
    asked.ask(way, "POST /v1/groups", &of(&record, &unmet), 412).await;
    asked.ask(way, "POST /v1/groups", "{\"records\": []}", 400).await;
    for (topic, status) in [("_sites", 403), ("other", 404), ("urgent", 409)] {
        let other = json!({"topic": topic, "value": 1});
        let both = json!({"records": [record, other]}).to_string();
        asked.ask(way, "POST /v1/groups", &both, status).await;
    }
    let long = json!({"topic": "ais", "value": "x".repeat(250_000)});
    asked.ask(way, "POST /v1/groups", &of(&long, &met), 413).await;
}

async fn reads(asked: &mut Asked, way: &Way) {
    let all = "from=seq:0&origin=hub&partition=0&max=3&follow=false&corrected=true";
    let answer = asked.ask(way, &format!("GET {AIS}?{all}"), "", 200).await;
    let last: Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
    let cursor = last["end"]["cursor"].as_str().unwrap();
    let rest = asked.ask(way, &format!("GET {AIS}?after={cursor}"), "", 200).await;
    assert_eq!(rest.body.lines().count(), 3, "{rest:?}");
    for (from, first) in [("seq:2", 2), ("@3", 3), ("hub/ais/0@1", 1), ("2022-01-03", 2)] {
        let answer = asked.ask(way, &format!("GET {AIS}?from={from}"), "", 200).await;
        let record: Value = serde_json::from_str(answer.body.lines().next().unwrap()).unwrap();
        assert_eq!(record["offset"], first, "{from}: {answer:?}");
    }
    let follow = format!("GET {AIS}?follow=true&max=1");
    let event = asked.ask_with(way, &follow, "Accept: text/event-stream\r\n", "", 200).await;
    let id = event.body.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    let head = format!("Last-Event-ID: {id}\r\n");
    let next = asked.ask_with(way, &follow, &head, "", 200).await;
    assert!(next.body.contains("\"offset\":1"), "{next:?}");
    asked.ask(way, &format!("GET {AIS}?from=soon"), "", 400).await;
    asked.ask(way, &format!("GET {AIS}?after=8-1-1-1"), "", 410).await;
}

async fn node(asked: &mut Asked, way: &Way) {
    asked.ask(way, "GET /v1/openapi.json", "", 200).await;
    asked.ask(way, "GET /v1/status", "", 200).await;
    asked.ask(way, "GET /v1/health", "", 200).await;
    let metrics = asked.ask(way, "GET /v1/metrics", "", 200).await;
    assert!(metrics.body.contains("\nlandfall_lane_next_seq{lane=\"normal\"} "), "{metrics:?}");
}

async fn views(asked: &mut Asked, way: &Way, data: &Path) {
    let path = data.join(landfall::views::FILE_NAME);
    let ask = |sql: &str| json!({"sql": sql, "rows_max": 10, "time_max_ms": 60_000}).to_string();
    until("the view is there", async || {
        let answer = way.send("GET /v1/views", "", "").await.ok()?;
        answer.body.contains("\"records\":3").then_some(())
    })
    .await
    .unwrap();
    asked.ask(way, "GET /v1/views", "", 200).await;
    asked.ask(way, "POST /v1/query", &ask("SELECT * FROM latest"), 200).await;
    asked.ask(way, "POST /v1/query", &ask("DELETE FROM latest"), 400).await;
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) \
                   FROM c";
    let short = json!({"sql": endless, "time_max_ms": 50}).to_string();
    asked.ask(way, "POST /v1/query", &short, 422).await;
    asked.ask(way, "POST /v1/query", &ask("SELECT hex(zeroblob(5000000))"), 413).await;
    live(asked, way).await;
    asked.ask(way, "POST /v1/views/latest/verify", "", 200).await;
    asked.ask(way, "POST /v1/views/nobody/verify", "", 404).await;
    past(asked, way).await;
    asked.ask(way, "GET /v1/trace?record=hub/ais/0@0", "", 200).await;
    asked.ask(way, "GET /v1/trace?record=hub", "", 400).await;
    asked.ask(way, "GET /v1/trace?record=hub/ais/0@7777", "", 404).await;
    // As long as the rows are beside the database, spoiling it changes nothing.
    let sql = ask("SELECT * FROM latest");
    let answer = until("a query meets the damage", async || {
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).ok()?;
        file.write_all(&[0xee; 9_000]).ok()?;
        let answer = way.send("POST /v1/query", "", &sql).await.ok()?;
        (answer.status == "500").then_some(answer)
    });
    asked.check("POST /v1/query", &answer.await.unwrap());
    until("the views are made anew", async || {
        let answer = way.send("POST /v1/query", "", &sql).await.ok()?;
        answer.body.contains("[\"b\",2,").then_some(())
    })
    .await
    .unwrap();
}

/// Questions behind a position, and one that is answered again.
async fn live(asked: &mut Asked, way: &Way) {
    let behind = |sql: &str, place: &str, wait_max_ms: u32| {
        json!({"sql": sql, "min_position": place, "wait_max_ms": wait_max_ms}).to_string()
    };
    let sql = "SELECT count(*) FROM latest";
    asked.ask(way, "POST /v1/query", &behind(sql, "hub/ais/0@2", 60_000), 200).await;
    asked.ask(way, "POST /v1/query", &behind(sql, "hub/ais/0@9", 10), 503).await;
    asked.ask(way, "POST /v1/query", &behind(sql, "8-1-1-1", 10), 410).await;
    asked.ask(way, "POST /v1/query", &behind("SELECT * FROM halts", "hub/ais/0@2", 10), 409).await;
    let line = format!("GET {AIS}?min_position=hub/ais/0@2&wait_max_ms=60000&max=1");
    asked.ask(way, &line, "", 200).await;
    let line = format!("GET {AIS}?min_position=hub/ais/0@9&wait_max_ms=10");
    asked.ask(way, &line, "", 503).await;

    // It ends with an error as soon as its answer takes too long; until then it is answered.
    let head = "Accept: text/event-stream\r\nLast-Event-ID: x\r\n";
    let sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c, \
               (SELECT CASE count(*) WHEN 2 THEN 10 ELSE 1000000000 END AS n FROM latest) \
               WHERE x < n) SELECT max(x) FROM c";
    let short = json!({"sql": sql, "time_max_ms": 2_000}).to_string();
    let (line, Way::Socket(path)) = ("POST /v1/query", way) else { return };
    let mut stream = UnixStream::connect(path).await.unwrap();
    let length = short.len();
    let request = format!("{line} HTTP/1.0\r\ncontent-length: {length}\r\n{head}\r\n{short}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let first = async {
        while !String::from_utf8_lossy(&heard).contains("\"rows\":[[10]]") {
            assert!(stream.read_buf(&mut heard).await.unwrap() > 0);
        }
    };
    tokio::time::timeout(PATIENCE, first).await.unwrap();
    let third = "{\"mmsi\":\"c\",\"sog\":3}\n";
    asked.ask(way, &format!("POST {AIS}?key_field=mmsi"), third, 200).await;
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    let heard = String::from_utf8(heard).unwrap();
    let (_, body) = heard.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("event: error\ndata: {\"error\":"), "{body}");
    let (status, content_type) = ("200".to_owned(), "text/event-stream".to_owned());
    let operation = asked.check(line, &Answer { status, content_type, body: body.to_owned() });
    asked.note_parameters(&operation, line, head);
}

async fn operators(asked: &mut Asked, way: &Way, fleet: &Fleet) {
    let token = json!({"site": "ship-0", "uses": 2, "valid_for_s": 60, "write": [], "carry": []});
    asked.ask(way, "POST /v1/tokens", &token.to_string(), 201).await;
    asked.ask(way, "POST /v1/tokens", "{\"site\": \"-\"}", 400).await;
    asked.ask(way, "POST /v1/tokens", &" ".repeat(70_000), 413).await;
    let ship = fleet.ship("ship-1").await.unwrap();
    ship.done("run", &["--until-synced"]).await.unwrap();
    let sites = asked.ask(way, "GET /v1/sites", "", 200).await;
    assert!(sites.body.contains("\"site\":\"ship-1\""), "{sites:?}");
    asked.ask(way, "POST /v1/sites/ship-1/split?name=ship-9", "", 201).await;
    asked.ask(way, "POST /v1/sites/ship-1/split?name=ship-1", "", 409).await;
    let rights = "{\"write\": [\"a\", \"b-*\"], \"carry\": [], \"subscribe\": [\"for-{site}\"]}";
    let told = asked.ask(way, "POST /v1/sites/ship-1/rights", rights, 200).await;
    assert!(
        told.body.contains("write a, b-*; carry nobody; have come down for-{site}"),
        "{told:?}"
    );
    asked.ask(way, "POST /v1/sites/-/rights", "{}", 400).await;
    asked.ask(way, "POST /v1/sites/ship-1/rights", "{\"write\": [\"*a\"]}", 400).await;
    asked.ask(way, "POST /v1/sites/nobody/rights", "{}", 404).await;
    asked.ask(way, "POST /v1/sites/ship-1/revoke", "", 200).await;
    asked.ask(way, "POST /v1/sites/-/revoke", "", 400).await;
    asked.ask(way, "POST /v1/sites/-/split", "", 400).await;
    asked.ask(way, "POST /v1/sites/nobody/revoke", "", 404).await;
    asked.ask(way, "POST /v1/sites/nobody/split", "", 404).await;
}

/// A node takes the parameters and methods that are stated, and no others.
async fn parameters_are_all_stated(asked: &mut Asked, way: &Way) {
    for operation in asked.document.operations() {
        let path = operation.path.replace(['{', '}'], "");
        let methods = asked.document.operations().into_iter();
        let stated = methods.filter(|one| one.path == operation.path);
        let mut stated: Vec<_> = stated.map(|one| one.method.to_uppercase()).collect();
        stated.sort();
        let answer = way.send(&format!("PUT {path}"), "", "").await.unwrap();
        assert_eq!(answer.status, "405", "{path}: {answer:?}");
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(told["hint"], format!("use {}", stated.join(", ")), "{path}");
        asked.note_code(&answer);

        let parameters = asked.document.parameters(&operation).into_iter();
        let parameters = parameters.filter(|(place, _)| place == "query");
        let mut parameters: Vec<_> = parameters.map(|(_, name)| name).collect();
        parameters.sort();
        let line = format!("{} {path}?zzzzzzzz=1", operation.method.to_uppercase());
        let answer = way.send(&line, "", "").await.unwrap();
        if !parameters.is_empty() {
            let told: Value = serde_json::from_str(&answer.body).unwrap();
            let known = format!("known are `{}`", parameters.join("`, `"));
            assert_eq!(told["hint"], known, "{line}: {answer:?}");
        }
    }
}

/// A ship that can't reach its hub.
async fn cut_off(fleet: &Fleet, folder: &str, site: &str) -> (NodeDir, Running) {
    let token = fleet.token(site, &[]).await.unwrap();
    let ship = fleet.ship_with(folder, &token).await.unwrap();
    fleet.relay.set_up(false);
    let lane = "[[lane]]\nname = \"normal\"\npriority = 0\nbudget_bytes = \"1MiB\"\n";
    ship.configure(&format!("[storage]\nsegment_bytes = \"512KiB\"\n{lane}")).unwrap();
    let runs = ship.run_up().await.unwrap();
    (ship, runs)
}

async fn full_lane(asked: &mut Asked, fleet: &Fleet) {
    let (ship, runs) = cut_off(fleet, "ship-2", "ship-2").await;
    let way = Way::to(&ship);
    let answer = asked.ask(&way, &format!("POST {AIS}"), &many(), 200).await;
    assert!(answer.body.contains("\"error\":{"), "{answer:?}");
    asked.ask(&way, &format!("POST {AIS}"), &many(), 507).await;
    let records = vec![json!({"topic": "ais", "value": "x".repeat(200_000)})];
    asked.ask(&way, "POST /v1/groups", &json!({"records": records}).to_string(), 507).await;
    let token = json!({"site": "ship-3"}).to_string();
    asked.ask(&way, "POST /v1/tokens", &token, 409).await;
    asked.ask(&way, "POST /v1/query", &json!({"sql": "SELECT 1"}).to_string(), 404).await;
    drop(runs);
}

fn many() -> String {
    (0..400).map(|n| format!("{{\"n\":{n},\"x\":\"{}\"}}\n", "x".repeat(8_000))).collect()
}

async fn full_disk(asked: &mut Asked, fleet: &Fleet) -> bool {
    let place = fleet.node("small").path;
    std::fs::create_dir(&place).unwrap();
    let Some(disk) = SmallDisk::mount(&place, 4 << 10) else { return false };
    let (ship, runs) = cut_off(fleet, "small/ship", "ship-3").await;
    let way = Way::to(&ship);
    disk.fill_up();
    let answer = asked.ask(&way, &format!("POST {AIS}"), &many(), 507).await;
    assert!(answer.body.contains("\"code\":\"disk_full\""), "{answer:?}");
    runs.kill().await.unwrap();
    true
}

/// Over TCP nobody is answered without the token.
async fn strangers(asked: &mut Asked, tcp: SocketAddr, data: &Path) {
    let way = Way::Tcp(tcp);
    for operation in asked.document.operations() {
        asked.ask_with(&way, &line_of(&operation), "Authorization: Bearer x\r\n", "", 401).await;
    }
    let shown = |file: &str| {
        let token = std::fs::read_to_string(data.join(file)).unwrap();
        format!("Authorization: Bearer {}\r\n", token.trim())
    };
    asked.ask_with(&way, "GET /v1/status", &shown("api.token"), "", 200).await;
    let nav = shown("nav.token");
    asked.ask_with(&way, "GET /v1/status", &nav, "", 200).await;
    for operation in asked.document.operations() {
        if operation.path.starts_with("/v1/sites") || operation.path == "/v1/tokens" {
            asked.ask_with(&way, &line_of(&operation), &nav, "", 403).await;
        }
    }
}

fn line_of(operation: &Operation) -> String {
    let path = operation.path.replace(['{', '}'], "");
    format!("{} {path}", operation.method.to_uppercase())
}

async fn too_many(asked: &mut Asked, way: &Way) {
    let Way::Socket(path) = way else { return };
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS {
        idle.push(UnixStream::connect(path).await.unwrap());
    }
    for operation in asked.document.operations() {
        asked.ask(way, &line_of(&operation), "", 503).await;
    }
    drop(idle);
}

/// Who follows when the node stops is told so.
async fn stop(asked: &mut Asked, hub: Running, way: &Way) {
    let Way::Socket(path) = way else { return };
    let line = format!("GET {AIS}?from=latest&follow=true");
    let mut follower = until("a place is free", async || {
        let mut stream = UnixStream::connect(path).await.ok()?;
        stream.write_all(format!("{line} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut begin = [0; 15];
        stream.read_exact(&mut begin).await.ok()?;
        begin.ends_with(b"200 OK").then_some(stream)
    })
    .await
    .unwrap();
    assert!(hub.terminate().await.unwrap().success());
    let mut rest = String::new();
    let heard = tokio::time::timeout(PATIENCE, follower.read_to_string(&mut rest)).await;
    heard.unwrap().unwrap();
    let (_, body) = rest.split_once("\r\n\r\n").unwrap();
    let (status, content_type) = ("200".to_owned(), "text/event-stream".to_owned());
    asked.check(&line, &Answer { status, content_type, body: body.to_owned() });
}
