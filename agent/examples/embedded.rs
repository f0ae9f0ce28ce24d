//! A node within a program: it writes and reads without any link, and asks a view of its own.
//!
//! ```sh
//! cargo run -p landfall --example embedded
//! ```
//!
//! With an upstream node and a token (`landfall init --join`), the same program brings its records
//! to the centre whenever there is a link.

use std::error::Error;
use std::path::Path;

use landfall::api::{Backend, QueryRequest};
use landfall::config::Config;
use landfall::daemon::{self, Daemon};

/// The newest speed of each vessel.
const VIEW: &str = r#"
[view.speeds.latest]
topic = "ais"
key = "mmsi"
columns = { sog = "$.sog" }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for (vessel, knots) in speeds(folder.path()).await? {
        println!("{vessel} makes {knots} knots");
    }
    Ok(())
}

/// Writes positions into a new node, and asks its view for the newest speed of each vessel.
async fn speeds(data: &Path) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    daemon::create(data, "ship-17", None, VIEW)?;
    let config = Config::load(None, data, std::env::vars())?;
    let mut node = Daemon::start(daemon::open(data, config.clone())?, true)?;
    node.keep_views(&config, data)?;

    let mut producer = node.handle.producer("ais", 0);
    let mut last = None;
    for (vessel, sog) in [("366899260", 17.9), ("338148873", 7.5), ("366899260", 18.4)] {
        let value = format!("{{\"sog\":{sog}}}");
        last = Some(producer.append(None, Some(vessel.as_bytes()), Some(value.as_bytes())).await?);
    }
    // Once this is known, no power cut takes them back.
    let offset = match last {
        Some(ticket) => producer.durable(ticket).await?,
        None => None,
    };

    // The question is asked when the view has the last record behind it.
    if let Some(offset) = offset {
        let commit = node.handle.reach(format!("ship-17/ais/0@{offset}").parse()?).await?;
        node.handle.views_reach("SELECT * FROM speeds".to_owned(), commit).await?;
    }
    let asked = QueryRequest::new("SELECT mmsi, sog FROM speeds ORDER BY sog DESC");
    let answer = node.handle.query(asked).await?;
    let row =
        |row: &Vec<serde_json::Value>| Some((row.first()?.as_str()?.into(), row.get(1)?.as_f64()?));
    let speeds = answer.rows.iter().filter_map(row).collect();
    node.stop().await;
    Ok(speeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_example_shows_the_newest_speeds() {
        let folder = tempfile::tempdir().unwrap();
        let shown = speeds(folder.path()).await.unwrap();
        let expected = [("366899260".to_owned(), 18.4), ("338148873".to_owned(), 7.5)];
        assert_eq!(shown, expected);
    }
}
