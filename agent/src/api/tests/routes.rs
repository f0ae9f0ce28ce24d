//! What each path does, and how it refuses.

use std::time::Duration;

use hyper::Method;

use super::*;

#[tokio::test]
async fn lines_appended_are_read_back_in_order() {
    let world = World::new().await;
    let (receipts, done) = world.append("key_field=mmsi", &lines(5_000)).await;
    let first = &receipt(&receipts[0]).written[0];
    assert_eq!(first.first, "ship-17/ais/0@0~1f00ba5e");
    assert_eq!(receipt(&receipts[receipts.len() - 1]).through_line, 5_000);
    let done = done.unwrap();
    assert_eq!((done.records, done.lines, done.skipped), (5_000, 5_000, 0));
    assert_eq!(world.node.keys()[9].as_deref(), Some(b"2".as_slice()));
    let read = world.read("").await.unwrap();
    assert_eq!(read.len(), 5_001);
    assert!(read[4_711].contains("\"offset\":4711") && read[4_711].contains("\"n\":4711}"));
    assert_eq!(read[5_000], "{\"end\":{\"cursor\":\"7-1f00ba5e-5000-0\",\"records\":5000}}");
    let few = world.read("after=7-1f00ba5e-4998-0&max=1").await.unwrap();
    assert!(few[0].contains("\"offset\":4998") && few.len() == 2);
    let from = world.read("from=%404999").await.unwrap();
    assert!(from[0].contains("\"offset\":4999") && from.len() == 2);
}

#[tokio::test]
async fn a_receipt_comes_while_the_body_is_still_being_sent() {
    let world = World::new().await;
    let (body, channel) = body::pieces();
    body.send(Bytes::from_static(b"1\n2\n3")).await.unwrap();
    let mut answer = world.client.append("ais", "", channel).await.unwrap();
    let receipt = answer.next().await.unwrap().unwrap();
    assert!(receipt.ends_with(b"\"through_line\":2}"), "{receipt:?}");
    body.send(Bytes::from_static(b"4\n")).await.unwrap();
    let receipt = answer.next().await.unwrap().unwrap();
    assert!(receipt.ends_with(b"\"through_line\":3}"), "{receipt:?}");
    drop(body);
    assert_eq!(rest(answer).await.1.unwrap().records, 3);
    assert_eq!(world.node.values(), ["1", "2", "34"]);
}

#[tokio::test]
async fn a_bad_line_stops_the_append_there_and_keeps_what_was_before() {
    let world = World::new().await;
    let (receipts, error) = world.append("", "{\"a\":1}\n\n{oops}\n{\"a\":2}\n").await;
    let error = error.unwrap_err();
    assert_eq!(receipts.len(), 1);
    assert_eq!((error.code, error.line), (ErrorCode::BadLine, Some(3)));
    assert!(error.message.starts_with("line 3: not JSON"), "{error}");
    assert_eq!(world.node.values(), ["{\"a\":1}"]);

    let (_, done) = world.append("skip_bad=true", "{oops}\n7\n").await;
    let done = done.unwrap();
    assert_eq!((done.records, done.skipped, done.lines), (1, 1, 2));
    assert!(done.first_skipped.unwrap().starts_with("line 1: not JSON"));

    let (receipts, error) = world.append("key_field=k", "{}\n").await;
    assert!(receipts.is_empty());
    assert_eq!(error.unwrap_err().message, "line 1: has no field `k`");
}

#[tokio::test]
async fn a_producer_that_repeats_itself_writes_each_line_once() {
    let world = World::new().await;
    let all = lines(300);
    let half: String = all.lines().take(200).map(|line| format!("{line}\n")).collect();
    world.append("producer=import", &half).await.1.unwrap();
    let done = world.append("producer=import", &all).await.1.unwrap();
    assert_eq!((done.records, done.duplicates), (100, 200));
    let more = world.append("producer=import&first_sequence=301", "1\n").await.1.unwrap();
    assert_eq!((more.records, more.duplicates), (1, 0));
    let error = world.append("first_sequence=3", "1\n").await.1.unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[tokio::test]
async fn a_full_lane_is_refused_with_what_to_do_and_nothing_is_lost() {
    let world = World::new().await;
    world.node.set_room(1_500);
    let (receipts, error) = world.append("", &lines(50_000)).await;
    let error = error.unwrap_err();
    assert_eq!(error.code, ErrorCode::LaneFull);
    let through = receipts.last().map_or(0, |line| receipt(line).through_line);
    assert!(error.line.unwrap() > through, "{error:?} behind line {through}");
    assert!(error.hint.unwrap().contains("`lane.budget_bytes`"));
    let written: u64 = receipts.iter().map(|line| receipt(line).written[0].count).sum();
    assert_eq!(written, world.node.values().len() as u64);

    world.node.set_room(0);
    let body = lines(2_000_000 / 20);
    let error = world.append("", &body).await.1.unwrap_err();
    assert_eq!(error.code, ErrorCode::LaneFull);
}

fn receipt(line: &str) -> ReceiptLine {
    serde_json::from_str(line).unwrap()
}

#[tokio::test]
async fn followers_get_what_is_there_and_what_comes_and_go_on_where_they_were() {
    let world = World::new().await;
    world.append("", "1\n2\n").await.1.unwrap();
    let mut follow = world.client.follow("ais", "", None).await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().id, "7-1f00ba5e-1-0");
    let second = follow.next().await.unwrap().unwrap();
    world.append("", "3\n").await.1.unwrap();
    let third = follow.next().await.unwrap().unwrap();
    assert!(third.data.ends_with(b"\"value\":3,\"headers\":[]}"), "{third:?}");
    drop(follow);

    let mut again = world.client.follow("ais", "", Some(&second.id)).await.unwrap();
    assert_eq!(again.next().await.unwrap().unwrap(), third);
    let mut latest = world.client.follow("ais", "from=latest&max=1", None).await.unwrap();
    world.append("", "4\n").await.1.unwrap();
    assert!(latest.next().await.unwrap().unwrap().data.starts_with(b"{\"topic\":\"ais\""));
    assert_eq!(latest.next().await.unwrap(), None);
}

#[tokio::test]
async fn followers_are_told_when_the_node_stops() {
    let world = World::new().await;
    let mut follow = world.client.follow("ais", "follow=true", None).await.unwrap();
    world.stop.send_replace(true);
    let error = follow.next().await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert_eq!(refusal(error).code, ErrorCode::Stopping);
    drop(follow);
    tokio::time::timeout(Duration::from_secs(5), world.served).await.unwrap().unwrap();
    assert!(!world.folder.path().join("landfall.sock").exists());
}

#[tokio::test]
async fn a_follower_that_goes_away_is_forgotten_at_once() {
    let world = World::new().await;
    let mut follow = world.client.follow("ais", "", None).await.unwrap();
    world.append("", "1\n").await.1.unwrap();
    follow.next().await.unwrap().unwrap();
    world.node.somebody_waits().await;
    drop(follow);
    let forgotten = tokio::time::timeout(Duration::from_secs(5), world.node.nobody_waits()).await;
    assert!(forgotten.is_ok(), "somebody waits still");
}

#[tokio::test]
async fn operators_make_tokens_and_revoke_and_split_sites() {
    let world = World::new().await;
    let client = &world.client;
    let body = serde_json::json!({
        "site": "ship-*",
        "uses": 3,
        "valid_for_s": 60,
        "carry": ["buoy-*"],
        "subscribe": ["commands.{site}"],
    });
    let AdminReply::Token(grant) =
        client.admin(Method::POST, "/v1/tokens", Some(&body)).await.unwrap()
    else {
        panic!("no token");
    };
    assert_eq!((grant.site.as_str(), grant.uses), ("ship-*", 3));
    client.admin(Method::POST, "/v1/sites/ship-1/split?name=ship-9", None).await.unwrap();
    let error = client.admin(Method::POST, "/v1/sites/nobody/revoke", None).await.unwrap_err();
    assert_eq!(refusal(error).code, ErrorCode::UnknownSite);
    let commands = world.node.commands();
    let valid_for = Duration::from_secs(60);
    let carry = vec!["buoy-*".to_owned()];
    let subscribe = vec!["commands.{site}".to_owned()];
    let (site, write) = ("ship-*".to_owned(), Vec::new());
    let wanted = TokenWanted { site, uses: 3, valid_for, write, carry, subscribe };
    assert_eq!(commands[0], AdminCommand::CreateToken(wanted));
    assert_eq!(
        commands[1],
        AdminCommand::Split { site: "ship-1".to_owned(), name: Some("ship-9".to_owned()) }
    );
    assert_eq!(client.status().await.unwrap().site, "ship-17");
}

#[tokio::test]
async fn a_question_to_the_views_has_limits() {
    let world = World::new().await;
    let reply = world.client.query(&QueryRequest::new("SELECT 1")).await.unwrap();
    assert_eq!(reply.rows, [[serde_json::json!("SELECT 1"), serde_json::json!(1_000)]]);
    let asked =
        |rows_max, time_max_ms| QueryRequest { rows_max, time_max_ms, ..QueryRequest::new("S") };
    for wrong in [asked(0, 1), asked(100_001, 1), asked(1, 0), asked(1, 300_001)] {
        let error = world.client.query(&wrong).await.unwrap_err();
        assert_eq!(refusal(error).code, ErrorCode::BadRequest, "{wrong:?}");
    }
}

#[tokio::test]
async fn monitors_are_told_how_the_node_is() {
    let world = World::new().await;
    let health = raw(&world, b"GET /v1/health HTTP/1.0\r\n\r\n").await;
    assert!(health.ends_with("\r\n\r\n{\"alarms\":0,\"healthy\":true}\n"), "{health}");
    let metrics = raw(&world, b"GET /v1/metrics HTTP/1.0\r\n\r\n").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nlandfall_info{site=\"ship-17\",version=\"0.1.0\"} 1\n"));
    assert!(metrics.contains("\n# TYPE landfall_streams_own gauge\nlandfall_streams_own 1\n"));
    assert!(metrics.contains("\nlandfall_subscription_level{topic=\"charts\"} 1\n"), "{metrics}");
    let views = raw(&world, b"GET /v1/views HTTP/1.0\r\n\r\n").await;
    assert!(views.ends_with("\r\n\r\n{\"views\":[]}\n"), "{views}");
}

#[tokio::test]
async fn every_refusal_has_its_status_and_the_one_shape() {
    let world = World::new().await;
    let cases = [
        ("GET /", 404, "not_found"),
        ("GET /v1/topics/ais", 404, "not_found"),
        ("DELETE /v1/status", 405, "method_not_allowed"),
        ("GET /v1/topics/a%20b/records", 400, "bad_request"),
        ("GET /v1/topics/%zz/records", 400, "bad_request"),
        ("GET /v1/topics/ais/records?form=earliest", 400, "bad_request"),
        ("GET /v1/topics/ais/records?from=soon", 400, "bad_request"),
        ("GET /v1/topics/ais/records?max=0", 400, "bad_request"),
        ("GET /v1/topics/ais/records?max=1&max=2", 400, "bad_request"),
        ("GET /v1/topics/ais/records?after=1-2", 400, "bad_request"),
        ("GET /v1/topics/ais/records?after=8-1-1-1", 410, "gone"),
        ("POST /v1/topics/_sites/records", 403, "forbidden"),
        ("POST /v1/tokens", 400, "bad_request"),
        ("POST /v1/query", 400, "bad_request"),
        ("GET /v1/query", 405, "method_not_allowed"),
        ("GET /v1/topics/ais/records?from=seq:x", 400, "bad_request"),
        ("POST /v1/health", 405, "method_not_allowed"),
    ];
    for (request, status, code) in cases {
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = raw(&world, head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(answer.contains("content-type: application/problem+json\r\n"), "{answer}");
        let told = answer.split("\r\n\r\n").nth(1).unwrap();
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        assert_eq!(told["type"], format!("urn:landfall:problem:{code}"), "{request}");
        assert_eq!((&told["status"], &told["code"]), (&status.into(), &code.into()), "{request}");
        assert!(told["detail"].as_str().is_some_and(|text| !text.is_empty()), "{told}");
    }
    let error = world.read("form=earliest").await.unwrap_err();
    assert_eq!(error.hint.as_deref(), Some("did you mean `from`?"));
    let body = Full::new(Bytes::from_static(b"1\n"));
    let error = world.client.append("nowhere", "", body).await.unwrap_err();
    assert_eq!(refusal(error).code, ErrorCode::UnknownTopic);
}
