//! A view that stands still: the log waits for it as long as it may, and what goes is told.

use super::*;

/// A log that holds little.
pub(super) const SMALL: &str = "[storage]\nsegment_bytes = \"512KiB\"\n[[lane]]\n\
    name = \"normal\"\npriority = 0\nbudget_bytes = \"1MiB\"\non_full = \"drop_oldest\"\n";

/// A node whose view is to halt in front of its second record, and whose log holds little.
async fn halting() -> Alone {
    let alone = Alone::with(&format!("on_error = \"halt\"\n{LATEST}")).await.unwrap();
    alone.node.configure(SMALL).unwrap();
    alone.append(&[r#"{"mmsi":"a","lat":1,"time":1}"#]).await.unwrap();
    alone.append(&[r#"{"mmsi":"a","time":1}"#]).await.unwrap();
    alone
}

/// Writes 15,000 records, of which the log forgets most.
pub(super) async fn flood(alone: &Alone, topic: &str) {
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    for part in lines.chunks(500).chain(lines.chunks(500)).chain(lines.chunks(500)) {
        alone.append_to(topic, part).await.unwrap();
    }
}

/// Waits until the node has told what the view lacks, and compares it with what the log has left.
async fn is_told(alone: &Alone, runs: &mut Running) {
    let told = |status: Status| {
        let alarm = status
            .alarms
            .iter()
            .find(|alarm| alarm.what == "view" && alarm.hint.contains("storage.hold_max"))?;
        let view = status.views.first().filter(|view| view.state == ViewState::Halted)?;
        Some((alarm.place.clone(), view.lacking))
    };
    let (place, lacking) = runs.until("the loss is told", told).await.unwrap();
    assert_eq!(place, "latest");
    let left = alone.node.done("read", &["ais"]).await.unwrap().lines().count() as u64;
    assert!(lacking > 0 && lacking <= 15_002 - left, "{lacking} of {left}");
}

#[tokio::test]
async fn what_goes_before_a_halted_view_takes_it_in_is_told_loudly() {
    let alone = halting().await;
    let mut runs = alone.node.run_up().await.unwrap();
    let halts =
        |status: Status| status.views.into_iter().find(|view| view.state == ViewState::Halted);
    assert_eq!(runs.until("the view halts", halts).await.unwrap().lacking, 0);
    flood(&alone, "ais").await;
    is_told(&alone, &mut runs).await;
}

#[tokio::test]
async fn what_goes_before_the_node_knows_where_its_views_are_is_told_as_well() {
    let alone = halting().await;
    let mut runs = alone.node.run_up().await.unwrap();
    let halts =
        |status: Status| status.views.into_iter().find(|view| view.state == ViewState::Halted);
    runs.until("the view halts", halts).await.unwrap();
    assert!(runs.terminate().await.unwrap().success());
    let mut runs = alone.node.run_up().await.unwrap();
    flood(&alone, "ais").await;
    is_told(&alone, &mut runs).await;
}
