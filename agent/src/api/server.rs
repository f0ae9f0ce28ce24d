//! Connections: who may connect, how many, how slowly, and how they end.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::application::{Applications, Caller, equal};
use super::backend::Backend;
use super::error::{ApiError, ErrorCode, PROBLEM_TYPE};
use super::limits::{HEAD_TIMEOUT, HEADERS_MAX, READ_BUFFER_BYTES, STOP_TIMEOUT};
use super::routes::{Router, refusal};
use super::stream::AnyStream;

/// Who is let in.
#[derive(Clone)]
pub enum Access {
    /// Whoever can connect: on a socket that only its owner can open.
    Everyone,
    /// Holders of the token, sent as `Authorization: Bearer …`.
    Bearer(Arc<str>),
}

/// Where clients connect.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket, removed when the listener is dropped.
    Unix(UnixListener, PathBuf),
    /// A loopback address.
    Tcp(TcpListener),
}

/// Why nothing can connect.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// Another process answers there.
    InUse(PathBuf),
    /// Something that is no socket is there.
    NotASocket(PathBuf),
    /// The system refuses the path.
    Unix(PathBuf, std::io::Error),
    /// The system refuses the address.
    Tcp(SocketAddr, std::io::Error),
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

impl Listener {
    /// Listens on a Unix socket that only the owner can open.
    ///
    /// # Errors
    /// Those of [`Listener::unix_for`].
    pub async fn unix(path: &Path) -> Result<Self, ListenError> {
        Self::unix_for(path, 0o600).await
    }

    /// Listens on a Unix socket with this mode from its first moment on. A socket that a killed
    /// process left is removed.
    ///
    /// # Errors
    /// When another process answers there or the path cannot be used.
    pub async fn unix_for(path: &Path, mode: u32) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Unix(path.to_owned(), error);
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) if UnixStream::connect(path).await.is_ok() => {
                return Err(ListenError::InUse(path.to_owned()));
            }
            Ok(_) => match std::fs::remove_file(path) {
                // A node that was just stopping took it away.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(failed)?,
            },
            Err(_) => {}
        }
        let socket = UnixSocket::new_stream().map_err(failed)?;
        // On Linux the file gets the mode that the socket has before it is bound. Other systems
        // refuse or ignore this; there the mode set behind it counts.
        let _ = rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode));
        socket.bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        let listener = socket.listen(BACKLOG).map_err(failed)?;
        Ok(Self::Unix(listener, path.to_owned()))
    }

    /// Listens on a loopback address.
    ///
    /// # Errors
    /// When it is none, or is in use.
    pub async fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        if !address.ip().is_loopback() {
            let error = std::io::Error::other("not a loopback address");
            return Err(ListenError::Tcp(address, error));
        }
        let bound = TcpListener::bind(address).await;
        bound.map(Self::Tcp).map_err(|error| ListenError::Tcp(address, error))
    }

    /// The address, if it is TCP.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // A socket that stays behind is removed by the next listener.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Serves clients until `stop` becomes true, then lets requests under way end for a while.
///
/// `connections` is shared by all listeners of a node; a client that finds none free is told so.
/// `record_bytes_max` is the greatest length of a line of input.
pub async fn serve(
    listener: Listener,
    (access, applications): (Access, Arc<Applications>),
    backend: impl Backend,
    record_bytes_max: usize,
    connections: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let router = Router { backend, applications, record_bytes_max, stop: stop.clone() };
    let mut tasks = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            _ = tasks.join_next(), if !tasks.is_empty() => continue,
            () = stopped(&mut stop) => break,
        };
        match (stream, connections.clone().try_acquire_owned()) {
            (Ok((stream, user)), Ok(permit)) => {
                let (router, access) = (router.clone(), access.clone());
                tasks.spawn(async move {
                    connection(stream, (access, user), router).await;
                    drop(permit);
                });
            }
            (Ok((stream, _)), Err(_)) => refuse(stream).await,
            (Err(error), _) => {
                // Out of descriptors, most likely: connections that end give some back.
                tracing::warn!(%error, "cannot accept a connection to the API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let ended = async { while tasks.join_next().await.is_some() {} };
    // Those that did not end are cut when the set is dropped.
    let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
}

/// Pause after the system refused a connection, so that the refusals do not take the processor.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Serves one connection that is already there, such as one within the process, to its end.
pub async fn serve_connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    backend: impl Backend,
    record_bytes_max: usize,
    stop: watch::Receiver<bool>,
) {
    let router = Router { backend, applications: Arc::default(), record_bytes_max, stop };
    connection(AnyStream(Box::new(stream)), (Access::Everyone, None), router).await;
}

async fn connection(
    stream: AnyStream,
    (access, user): (Access, Option<u32>),
    router: Router<impl Backend>,
) {
    let mut stop = router.stop.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (access, router) = (access.clone(), router.clone());
        async move {
            let response = match access.caller(&router.applications, user, &request) {
                Ok(caller) => router.answer(request, &caller).await,
                Err(error) => refusal(&error),
            };
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER_BYTES)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream.0), service);
    let mut served = std::pin::pin!(served);
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        () = stopped(&mut stop) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection to the API ended early");
    }
}

/// Resolves when the node stops, or nobody is left who could stop it.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Access {
    /// Who asks, if it may.
    fn caller(
        &self,
        applications: &Applications,
        user: Option<u32>,
        request: &Request<Incoming>,
    ) -> Result<Caller, ApiError> {
        let sent = request.headers().get(AUTHORIZATION).map(hyper::header::HeaderValue::as_bytes);
        let shown = sent.and_then(|sent| sent.strip_prefix(b"Bearer "));
        if let Some(caller) = shown.and_then(|shown| applications.by_token(shown)) {
            return Ok(caller);
        }
        match self {
            Self::Everyone => Ok(applications.by_user(user)),
            Self::Bearer(token) if shown.is_some_and(|shown| equal(shown, token.as_bytes())) => {
                Ok(Caller::default())
            }
            Self::Bearer(_) => {
                let hint = "send `Authorization: Bearer TOKEN` with the content of the token file";
                let text = "the token is missing or wrong";
                Err(ApiError::new(ErrorCode::Unauthorized, text).with_hint(hint))
            }
        }
    }
}

/// The next connection, and the user at its other end.
async fn accept(listener: &Listener) -> std::io::Result<(AnyStream, Option<u32>)> {
    Ok(match listener {
        Listener::Unix(listener, _) => {
            let stream = listener.accept().await?.0;
            // Whoever can't be told is not let in: no user would pass for an operator.
            let user = stream.peer_cred()?.uid();
            (AnyStream(Box::new(stream)), Some(user))
        }
        Listener::Tcp(listener) => (AnyStream(Box::new(listener.accept().await?.0)), None),
    })
}

async fn refuse(mut stream: AnyStream) {
    let error = ApiError::new(ErrorCode::Busy, "too many connections to the API")
        .with_hint("end some, or raise `api.connections_max`");
    let body = error.to_json();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {PROBLEM_TYPE}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // It fits into the socket's buffer; a client that is gone needs no answer.
    let _ = stream.0.write_all(text.as_bytes()).await;
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "another node answers at {}; stop it, or give this one another `api.socket`",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} is there and is no socket; move it away, or set another `api.socket`",
                path.display()
            ),
            Self::Unix(path, error) => write!(
                f,
                "cannot listen at {}: {error}; set `api.socket` to a path of at most 107 bytes in \
                 a directory that can be written",
                path.display()
            ),
            Self::Tcp(address, error) => {
                write!(f, "cannot listen at {address}: {error}; set another `api.tcp`")
            }
        }
    }
}

impl std::error::Error for ListenError {}
