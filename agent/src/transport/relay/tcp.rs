//! TCP connections through a relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::wire::Fate;
use super::{Link, Toward};

/// Bytes that travel together: one segment of an ordinary network.
const SEGMENT_MAX: usize = 1448;

/// Segments of one connection on the way in one direction.
const FLYING_MAX: usize = 4096;

pub(super) async fn relay(listener: TcpListener, target: SocketAddr, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    loop {
        // An error is about a connection that ended before it was accepted.
        let Ok((dialer, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let link = link.clone();
        connections.spawn(async move {
            if let Err(error) = connect(dialer, target, link).await {
                tracing::debug!(%error, "a relayed connection ended");
            }
        });
    }
}

async fn connect(dialer: TcpStream, target: SocketAddr, link: Arc<Link>) -> io::Result<()> {
    link.until_up().await;
    let hub = TcpStream::connect(target).await?;
    dialer.set_nodelay(true)?;
    hub.set_nodelay(true)?;
    let (from_dialer, to_dialer) = dialer.into_split();
    let (from_hub, to_hub) = hub.into_split();
    tokio::try_join!(
        pump(from_dialer, to_hub, &link, Toward::Target),
        pump(from_hub, to_dialer, &link, Toward::Dialer),
    )?;
    Ok(())
}

async fn pump(
    from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    link: &Link,
    toward: Toward,
) -> io::Result<()> {
    let (flying, arriving) = mpsc::channel(FLYING_MAX);
    tokio::try_join!(take(from, flying, link, toward), deliver(arriving, to, link, toward))?;
    Ok(())
}

async fn take(
    mut from: impl AsyncRead + Unpin,
    flying: mpsc::Sender<(Instant, Bytes)>,
    link: &Link,
    toward: Toward,
) -> io::Result<()> {
    loop {
        let mut segment = BytesMut::with_capacity(SEGMENT_MAX);
        if from.read_buf(&mut segment).await? == 0 {
            return Ok(());
        }
        let arrives_at = loop {
            link.until_up().await;
            match link.direction(toward).offer_stream(segment.len()) {
                Fate::Arrive(at) => break at,
                Fate::Full(until) => sleep_until(until).await,
                Fate::Lost => unreachable!("a wire loses datagrams only"),
            }
        };
        if flying.send((arrives_at, segment.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

async fn deliver(
    mut arriving: mpsc::Receiver<(Instant, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    link: &Link,
    toward: Toward,
) -> io::Result<()> {
    while let Some((arrives_at, segment)) = arriving.recv().await {
        if arrives_at > Instant::now() {
            sleep_until(arrives_at).await;
        }
        link.until_up().await;
        to.write_all(&segment).await?;
        link.direction(toward).count(segment.len());
    }
    to.shutdown().await
}
