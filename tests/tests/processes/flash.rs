//! What the log costs the device below it, counted by the kernel where the file system hands it on.

use landfall::api::Status;
use landfall_tests::block_disk::BlockDisk;
use landfall_tests::budgets::budget;
use landfall_tests::process::{NodeDir, Program, Running};

use crate::fleet::append_numbered;

/// Two segments of a lane, which it goes round.
const SETTINGS: &str = "[storage]\nsegment_bytes = \"4MiB\"\n[[lane]]\nname = \"normal\"\n\
    priority = 0\nbudget_bytes = \"8MiB\"\n";
/// Appends that are measured one by one.
const LONE: usize = 400;

async fn payload(runs: &mut Running) -> (u64, u64) {
    let told = |status: Status| Some((status.medium.payload_bytes, status.medium.written_bytes));
    runs.until("its status", told).await.unwrap()
}

/// The second lap of a card, when each block has been written once before.
#[tokio::test]
async fn a_lone_commit_and_bulk_cost_the_device_what_the_budgets_allow() {
    let test = "a_lone_commit_and_bulk_cost_the_device_what_the_budgets_allow";
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = BlockDisk::mount(test, dir.path(), 128) else { return };
    let node = NodeDir::new(&Program::find().unwrap(), disk.path().join("node"));
    node.done("init", &["--site", "ship"]).await.unwrap();
    node.configure(SETTINGS).unwrap();
    let mut runs = node.run_up().await.unwrap();
    let line = format!("{{\"x\":\"{}\"}}\n", "0123456789abcdef".repeat(64));
    let lap = dir.path().join("lap");
    std::fs::write(&lap, line.repeat((12 << 20) / line.len())).unwrap();
    let words = ["log", lap.to_str().unwrap()];
    node.done("append", &words).await.unwrap();

    let (before, stored) = (disk.written(), payload(&mut runs).await);
    node.done("append", &words).await.unwrap();
    let (given, told) = (disk.written() - before, payload(&mut runs).await);
    let (records, log) = (told.0 - stored.0, told.1 - stored.1);
    println!("bulk: {given} bytes for {records} of records, {log} of them of the log");
    assert!(records > 11 << 20, "{records} bytes of records");
    let percent = given * 100 / records;
    assert!(percent <= budget("flash_bulk_percent"), "{percent} bytes for 100");

    let (client, before, stored) = (node.client(), disk.written(), payload(&mut runs).await);
    for number in 0..LONE {
        assert!(append_numbered(&client, "log", number, "{}").await);
    }
    let (given, told) = (disk.written() - before, payload(&mut runs).await);
    let (each, log) = (given / LONE as u64, (told.1 - stored.1) / LONE as u64);
    println!("a lone commit: {each} bytes, {log} of them of the log");
    assert!(each <= budget("flash_lone_commit"), "{each} bytes for a lone commit");
    assert!(runs.terminate().await.unwrap().success());
}
