//! A view that stands still: the log waits for it as long as it may, and what goes is told.

use super::*;

#[tokio::test]
async fn what_goes_before_a_halted_view_takes_it_in_is_told_loudly() {
    let alone = Alone::with(&format!("on_error = \"halt\"\n{LATEST}")).await.unwrap();
    let small = "[storage]\nsegment_bytes = \"512KiB\"\n[[lane]]\nname = \"normal\"\n\
         priority = 0\nbudget_bytes = \"1MiB\"\non_full = \"drop_oldest\"\n";
    alone.node.configure(small).unwrap();
    let mut runs = alone.node.run_up().await.unwrap();
    alone.append(&[r#"{"mmsi":"a","lat":1,"time":1}"#]).await.unwrap();
    all(&mut runs, 1).await;
    alone.append(&[r#"{"mmsi":"a","time":1}"#]).await.unwrap();
    let halts =
        |status: Status| status.views.into_iter().find(|view| view.state == ViewState::Halted);
    assert_eq!(runs.until("the view halts", halts).await.unwrap().lacking, 0);
    let sample = sample();
    let lines: Vec<&str> = sample.lines().collect();
    for part in lines.chunks(500).chain(lines.chunks(500)).chain(lines.chunks(500)) {
        alone.append(part).await.unwrap();
    }
    let told = |status: Status| {
        let alarm = status
            .alarms
            .iter()
            .find(|alarm| alarm.what == "view" && alarm.hint.contains("storage.hold_max"))?;
        Some((alarm.place.clone(), status.views.first()?.lacking))
    };
    let (place, lacking) = runs.until("the loss is told", told).await.unwrap();
    assert_eq!(place, "latest");
    let left = alone.node.done("read", &["ais"]).await.unwrap().lines().count() as u64;
    assert!(lacking > 0 && lacking <= 15_001 - left, "{lacking} of {left}");
}
