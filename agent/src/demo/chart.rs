//! The chart on shore: a view of the hub, and one question that is answered whenever the rows
//! change.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::play::TOPIC;
use crate::api::{Client, QueryRequest};

/// 102.3 knots stand for a speed that nobody knows.
const QUESTION: &str = "SELECT count(*), max(sog) FILTER (WHERE sog < 102) FROM vessels";
/// When to ask again, as the hub was killed or its view is not made yet.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What the chart shows at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// Vessels on it.
    pub(super) vessels: u64,
    /// How fast the fastest one goes.
    pub(super) knots: f64,
    /// How often it has changed.
    pub(super) changes: u64,
}

/// The chart, which changes as long as this is there.
pub(super) struct Chart {
    shown: watch::Receiver<Shown>,
    following: JoinHandle<()>,
}

impl Chart {
    /// Defines the view of a node that was made and does not run yet.
    pub(super) fn define(data: &Path) -> Result<(), String> {
        let view = format!(
            "[latest]\ntopic = \"{TOPIC}\"\nkey = \"mmsi\"\ncolumns = {{ sog = \"$.sog\" }}\n"
        );
        let folder = data.join("views");
        let path = folder.join("vessels.toml");
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, view));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Asks, and asks again when the node was away.
    pub(super) fn follow(client: Client) -> Self {
        let (show, shown) = watch::channel(Shown::default());
        let following = tokio::spawn(async move {
            loop {
                if let Ok(mut answers) = client.live(&QueryRequest::new(QUESTION), None).await {
                    while let Ok(Some(answer)) = answers.next().await {
                        let Some((vessels, knots)) = row(&answer.data) else { continue };
                        show.send_modify(|last| {
                            *last = Shown { vessels, knots, changes: last.changes + 1 };
                        });
                    }
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        });
        Self { shown, following }
    }

    pub(super) fn shown(&self) -> Shown {
        *self.shown.borrow()
    }

    /// What it shows when it has so many vessels.
    pub(super) async fn has(&mut self, vessels: u64, patience: Duration) -> Result<Shown, String> {
        let all = self.shown.wait_for(|shown| shown.vessels == vessels);
        let shown = tokio::time::timeout(patience, all).await.ok().and_then(Result::ok);
        let shown = shown.map(|shown| *shown);
        shown.ok_or_else(|| {
            let has = self.shown().vessels;
            format!("the hub's view shows {has} vessels, and there are {vessels}")
        })
    }
}

impl Drop for Chart {
    fn drop(&mut self) {
        self.following.abort();
    }
}

fn row(answer: &[u8]) -> Option<(u64, f64)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let row = answer.get("rows")?.get(0)?;
    Some((row.get(0)?.as_u64()?, row.get(1)?.as_f64().unwrap_or_default()))
}
