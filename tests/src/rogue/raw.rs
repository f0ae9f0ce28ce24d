//! TLS on TCP without a transport above it: what a peer may send there, and when it reads.

use std::io;
use std::sync::Arc;

use landfall::identity::tls::{HubKeys, RefusedKey, SERVER_NAME, client_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Identity;
use crate::process::PATIENCE;

/// Bytes in one frame of the byte stream.
const PAYLOAD: usize = 16_000;

/// A connection with a key, and nothing else.
pub struct Raw(TlsStream<TcpStream>);

impl Raw {
    /// Connects to the first address of the identity's hub, with as few bytes waiting to be read
    /// as the system allows.
    ///
    /// # Errors
    /// The hub is not reached, or takes no connection.
    pub async fn connect(identity: &Identity) -> io::Result<Self> {
        let keys = HubKeys(identity.token.hub_keys.clone());
        let config = client_config(&identity.key(), keys, RefusedKey::default());
        let config = config.map_err(io::Error::other)?;
        let address = identity.token.addresses.first().ok_or(io::ErrorKind::NotFound)?;
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let stream = socket.connect(address.parse().map_err(io::Error::other)?).await?;
        let name = SERVER_NAME.try_into().map_err(io::Error::other)?;
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// Sends bytes of a channel, and reads nothing meanwhile.
    ///
    /// # Errors
    /// The connection is over, or takes nothing for longer than [`PATIENCE`].
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PAYLOAD) {
            let length = u32::try_from(piece.len()).map_err(io::Error::other)?.to_le_bytes();
            let header = [channel, length[0], length[1], length[2]];
            let framed = [&header, piece].concat();
            tokio::time::timeout(PATIENCE, self.0.write_all(&framed)).await??;
        }
        self.0.flush().await
    }

    /// Reads until the other end closes it, and throws it away.
    ///
    /// # Errors
    /// It does not within [`PATIENCE`].
    pub async fn ended(mut self) -> io::Result<()> {
        let mut told = vec![0; 64 * 1024];
        let end = async { while matches!(self.0.read(&mut told).await, Ok(1..)) {} };
        Ok(tokio::time::timeout(PATIENCE, end).await?)
    }
}
