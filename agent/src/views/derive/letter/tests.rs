//! What views of a node in memory refuse, and what becomes of it.

use super::*;
use crate::api::{ViewState, ViewStatus};
use crate::views::definition::tests::definition;
use crate::views::keeper::tests::Scene;

/// A view that refuses each tenth record.
fn refusing(every: u64) -> Definition {
    let ddl = format!("CREATE TABLE latest(k TEXT CHECK(k % {every} <> 0))");
    definition("latest", &ddl, "INSERT INTO latest VALUES(:key)", &[])
}

/// All of so many records is settled, and so is what was set aside of them.
fn settled(records: u64) -> impl FnMut(&Vec<ViewStatus>) -> bool {
    let all = move |view: &ViewStatus| {
        view.records + view.errors == records && view.outbox == 0 && view.next.is_none()
    };
    move |views| views.iter().any(all)
}

/// The letters that there are, by the keys of their records.
fn letters(scene: &Scene) -> Vec<String> {
    scene.node.records("ais.dead").iter().map(|letter| header(letter, "dead-key")).collect()
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|header| header.name == name).unwrap();
    String::from_utf8(found.value.clone().unwrap().into()).unwrap()
}

fn lose_file(scene: &Scene) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(scene.folder.path().join(format!("views.db{end}")));
    }
}

#[tokio::test]
async fn what_a_view_refuses_is_set_aside_once_whatever_is_lost() {
    let scene = Scene::new();
    scene.append(0..25).await;
    let (views, keeping) = scene.keep(&[refusing(10)]);
    scene.until(&views, settled(25)).await;
    let letter = scene.node.records("ais.dead").pop().unwrap();
    let named = "view/latest:ship-17/ais/0@20~1f00ba5e";
    assert_eq!(letter.key.as_deref(), Some(named.as_bytes()));
    assert_eq!(letter.value.as_deref(), Some(&b"{\"lat\":20,\"lon\":1}"[..]));
    assert_eq!(header(&letter, "dead-view"), "latest");
    assert_eq!(header(&letter, "dead-record"), "ship-17/ais/0@20~1f00ba5e");
    assert_eq!(header(&letter, "dead-timestamp"), "20");
    assert!(header(&letter, "dead-error").starts_with("CHECK constraint failed"));
    keeping.stop().await;
    lose_file(&scene);
    scene.node.forget_producers();
    scene.append(25..35).await;
    let (views, keeping) = scene.keep(&[refusing(10)]);
    scene.until(&views, settled(35)).await;
    assert_eq!(letters(&scene), ["0", "10", "20", "30"]);
    keeping.stop().await;
}

#[tokio::test]
async fn rows_that_are_made_anew_set_nothing_aside_that_was_settled() {
    let scene = Scene::new();
    scene.append(0..25).await;
    let (views, keeping) = scene.keep(&[refusing(10)]);
    scene.until(&views, settled(25)).await;
    keeping.stop().await;
    let (views, keeping) = scene.keep(&[refusing(5)]);
    let is_second = |views: &Vec<ViewStatus>| views.iter().any(|view| view.generation == 2);
    scene.until(&views, is_second).await;
    scene.append(25..32).await;
    scene.until(&views, settled(32)).await;
    assert_eq!(letters(&scene), ["0", "10", "20", "25", "30"]);
    let errors = "SELECT count(*) FROM _errors";
    assert_eq!(scene.ask(errors), "[[7]]", "it says what these rows lack");
    keeping.stop().await;
}

#[tokio::test]
async fn rows_go_on_although_the_log_has_no_room_for_letters() {
    let scene = Scene::new();
    scene.append(0..25).await;
    scene.node.set_room(26);
    let (views, keeping) = scene.keep(&[refusing(10)]);
    let waits = |views: &Vec<ViewStatus>| views.iter().any(|v| v.state == ViewState::Waiting);
    scene.until(&views, waits).await;
    scene.append([25]).await;
    scene.until(&views, |views| views.iter().any(|view| view.records == 23)).await;
    let told = views.board().borrow().views[0].clone();
    assert_eq!((told.state, told.outbox), (ViewState::Waiting, 3));
    assert!(told.reason.unwrap().contains("lane `normal` is full"));
    scene.node.set_room(1_000);
    scene.until(&views, settled(26)).await;
    assert_eq!(letters(&scene), ["0", "10", "20"]);
    keeping.stop().await;
}

#[tokio::test]
async fn a_view_that_halts_sets_nothing_aside() {
    let scene = Scene::new();
    scene.append(1..25).await;
    let halting = Definition { on_error: OnError::Halt, ..refusing(10) };
    let (views, keeping) = scene.keep(&[halting]);
    let halts = |views: &Vec<ViewStatus>| views.iter().any(|v| v.state == ViewState::Halted);
    scene.until(&views, halts).await;
    keeping.stop().await;
    assert!(letters(&scene).is_empty());
    let (views, keeping) = scene.keep(&[refusing(10)]);
    scene.until(&views, settled(24)).await;
    assert_eq!(letters(&scene), ["10", "20"]);
    keeping.stop().await;
}
