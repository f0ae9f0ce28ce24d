//! The API over real sockets, with a node that lives in memory.

mod limits;
pub(crate) mod memory;
mod routes;
mod sockets;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use memory::Memory;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::*;

/// Greatest length of a line in the tests.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A node in memory that serves its API on a socket in its own folder.
struct World {
    node: Memory,
    client: Client,
    folder: tempfile::TempDir,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl World {
    async fn new() -> Self {
        Self::with_connections(8).await
    }

    async fn with_connections(connections: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("landfall.sock");
        let (stop, stopped) = watch::channel(false);
        let node = Memory::default();
        let listener = Listener::unix(&path).await.unwrap();
        let connections = Arc::new(Semaphore::new(connections));
        let served = tokio::spawn(serve(
            listener,
            (Access::Everyone, Arc::default()),
            node.clone(),
            RECORD_BYTES_MAX,
            connections,
            stopped,
        ));
        Self { node, client: Client::new(Target::Unix(path)), folder, stop, served }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("landfall.sock")
    }

    /// Appends a body at once; gives the receipts and what was said last.
    async fn append(&self, query: &str, body: &str) -> (Vec<String>, Result<AppendDone, ApiError>) {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        match self.client.append("ais", query, body).await {
            Ok(lines) => rest(lines).await,
            Err(error) => (Vec::new(), Err(refusal(error))),
        }
    }

    async fn read(&self, query: &str) -> Result<Vec<String>, ApiError> {
        let mut lines = self.client.read("ais", query).await.map_err(refusal)?;
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.map_err(refusal)? {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        Ok(all)
    }
}

async fn rest(mut lines: Lines) -> (Vec<String>, Result<AppendDone, ApiError>) {
    let mut receipts = Vec::new();
    loop {
        match lines.next().await {
            Ok(Some(line)) => match serde_json::from_slice::<Done>(&line) {
                Ok(Done { done }) => return (receipts, Ok(done)),
                Err(_) => receipts.push(String::from_utf8(line.to_vec()).unwrap()),
            },
            Ok(None) => panic!("the answer has no last line: {receipts:?}"),
            Err(error) => return (receipts, Err(refusal(error))),
        }
    }
}

#[derive(serde::Deserialize)]
struct Done {
    done: AppendDone,
}

fn refusal(error: ClientError) -> ApiError {
    match error {
        ClientError::Refused(error) => error,
        other => panic!("no refusal: {other}"),
    }
}

/// `count` lines with some padding.
fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"mmsi\":{},\"n\":{n}}}\n", n % 7)).collect()
}

/// Sends bytes to the socket as they are and gives all that comes back.
async fn raw(world: &World, request: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::UnixStream::connect(world.socket()).await.unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
