//! Connections of any kind as one type: hyper is compiled once for each type it serves, and each
//! copy costs tens of kilobytes, while a call through a table costs nothing that a socket would
//! notice.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection of any kind.
pub(super) struct AnyStream(pub(super) Box<dyn Stream>);

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
