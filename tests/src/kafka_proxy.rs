//! A proxy before a Kafka broker that reads along, and can keep commits from arriving, or their
//! answers from coming back.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The number of the request that ends a transaction.
const END_TXN: [u8; 2] = [0, 26];
/// A longer frame is none of Kafka's.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// What happens to requests that end a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Commits {
    /// Nothing.
    Pass,
    /// They do not arrive, and the connection ends.
    Lost,
    /// They arrive, and the connection ends instead of an answer.
    Unanswered,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct KafkaProxy {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    commits: watch::Sender<Commits>,
    hit: Arc<AtomicU64>,
    serving: tokio::task::JoinHandle<()>,
}

impl KafkaProxy {
    /// Listens on loopback; nobody is let through before [`KafkaProxy::lead_to`].
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (target, leads) = watch::channel(None);
        let (commits, told) = watch::channel(Commits::Pass);
        let hit = Arc::new(AtomicU64::new(0));
        let serving = tokio::spawn(serve(listener, leads, told, hit.clone()));
        Ok(Self { address, target, commits, hit, serving })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections lead from now on.
    pub fn lead_to(&self, broker: SocketAddr) {
        self.target.send_replace(Some(broker));
    }

    /// What happens to requests that end a transaction, from now on.
    pub fn set_commits(&self, commits: Commits) {
        self.commits.send_replace(commits);
    }

    /// How many of them something has happened to.
    pub fn hit(&self) -> u64 {
        self.hit.load(Ordering::Relaxed)
    }
}

impl Drop for KafkaProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    listener: TcpListener,
    leads: watch::Receiver<Option<SocketAddr>>,
    commits: watch::Receiver<Commits>,
    hit: Arc<AtomicU64>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let target = *leads.borrow();
        let Some(target) = target else { continue };
        let pass = Pass { commits: commits.clone(), hit: hit.clone(), asked: Arc::default() };
        connections.spawn(async move {
            // An end of either side ends both.
            if let Ok(broker) = TcpStream::connect(target).await {
                pass.both_ways(client, broker).await;
            }
        });
    }
}

/// What a connection knows.
#[derive(Clone)]
struct Pass {
    commits: watch::Receiver<Commits>,
    hit: Arc<AtomicU64>,
    /// The numbers of the requests that end a transaction and are not answered yet.
    asked: Arc<Mutex<BTreeSet<[u8; 4]>>>,
}

impl Pass {
    async fn both_ways(self, client: TcpStream, broker: TcpStream) {
        let (from_client, to_client) = client.into_split();
        let (from_broker, to_broker) = broker.into_split();
        let up = self.clone().requests(from_client, to_broker);
        let down = self.answers(from_broker, to_client);
        tokio::select! {
            _ = up => {}
            _ = down => {}
        }
    }

    async fn requests(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let frame = frame(&mut from).await?;
            if frame.get(4..6) == Some(&END_TXN) {
                if *self.commits.borrow() == Commits::Lost {
                    self.hit.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                let number = frame.get(8..12).map(<[u8; 4]>::try_from);
                self.asked().extend(number.and_then(Result::ok));
            }
            to.write_all(&frame).await?;
        }
    }

    async fn answers(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let frame = frame(&mut from).await?;
            let number = frame.get(4..8).and_then(|number| <[u8; 4]>::try_from(number).ok());
            let ends = number.is_some_and(|number| self.asked().remove(&number));
            if ends && *self.commits.borrow() == Commits::Unanswered {
                self.hit.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            to.write_all(&frame).await?;
        }
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, BTreeSet<[u8; 4]>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A frame with its length before it.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let bytes = length.into_iter().fold(0, |bytes, byte| bytes << 8 | usize::from(byte));
    if bytes > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + bytes];
    let (head, body) = frame.split_at_mut(4);
    head.copy_from_slice(&length);
    from.read_exact(body).await?;
    Ok(frame)
}
