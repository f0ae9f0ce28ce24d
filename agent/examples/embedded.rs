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

/// What a receiver might hear.
const POSITIONS: [(&str, f64); 3] = [("366899260", 17.9), ("338148873", 7.5), ("366899260", 18.4)];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // Once; a program finds its node again at the next start.
    daemon::create(folder.path(), "ship-17", None, VIEW)?;
    for (vessel, knots) in run(folder.path()).await? {
        println!("{vessel} makes {knots} knots");
    }
    Ok(())
}

/// Runs the node, writes positions, asks for the speeds, and stops.
async fn run(data: &Path) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let config = Config::load(None, data, std::env::vars())?;
    let mut node = Daemon::start(daemon::open(data, config.clone())?, true)?;
    node.keep_views(&config, data)?;
    let last = write(&node).await?;
    let speeds = speeds(&node, last).await?;
    node.stop().await;
    Ok(speeds)
}

/// Writes the positions; gives the coordinates of the last one.
async fn write(node: &Daemon) -> Result<Option<String>, Box<dyn Error>> {
    let mut producer = node.handle.producer("ais", 0);
    let mut last = None;
    for (vessel, sog) in POSITIONS {
        let value = format!("{{\"sog\":{sog}}}");
        let (key, value) = (vessel.as_bytes(), value.as_bytes());
        last = Some(producer.append(None, Some(key), Some(value)).await?);
    }
    let Some(last) = last else { return Ok(None) };
    // Once this is known, no power cut takes them back.
    let offset = producer.durable(last).await?;
    Ok(offset.map(|offset| format!("ship-17/ais/0@{offset}")))
}

/// Asks the view for the newest speed of each vessel, when it has a record behind it.
async fn speeds(
    node: &Daemon,
    behind: Option<String>,
) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let sql = "SELECT mmsi, sog FROM speeds ORDER BY sog DESC";
    // It waits for some seconds; then the answer is an error that says so.
    let asked = QueryRequest { min_position: behind, ..QueryRequest::new(sql) };
    let answer = node.handle.query(asked).await?;
    let speed = |row: &Vec<serde_json::Value>| {
        let (vessel, knots) = (row.first()?.as_str()?, row.get(1)?.as_f64()?);
        Some((vessel.to_owned(), knots))
    };
    Ok(answer.rows.iter().filter_map(speed).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_example_shows_the_newest_speeds_also_at_its_next_start() {
        let folder = tempfile::tempdir().unwrap();
        daemon::create(folder.path(), "ship-17", None, VIEW).unwrap();
        let expected = [("366899260".to_owned(), 18.4), ("338148873".to_owned(), 7.5)];
        for _ in 0..2 {
            assert_eq!(run(folder.path()).await.unwrap(), expected);
        }
    }
}
