//! TCP connections through a relay.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::Journey;
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
    flying: mpsc::Sender<(Journey, Bytes)>,
    link: &Link,
    toward: Toward,
) -> io::Result<()> {
    loop {
        let mut segment = BytesMut::with_capacity(SEGMENT_MAX);
        if from.read_buf(&mut segment).await? == 0 {
            return Ok(());
        }
        link.until_up().await;
        // The place is taken beforehand, so that a receiver that stands still holds up no other.
        let Ok(place) = flying.clone().reserve_owned().await else { return Ok(()) };
        let (length, segment) = (segment.len(), segment.freeze());
        let depart = move |journey| {
            place.send((journey, segment));
        };
        link.wire(toward).offer_stream(length, depart).await;
    }
}

async fn deliver(
    mut arriving: mpsc::Receiver<(Journey, Bytes)>,
    mut to: impl AsyncWrite + Unpin,
    link: &Link,
    toward: Toward,
) -> io::Result<()> {
    while let Some((journey, segment)) = arriving.recv().await {
        journey.end().await;
        link.until_up().await;
        to.write_all(&segment).await?;
        link.wire(toward).count_delivered(segment.len());
    }
    to.shutdown().await
}
