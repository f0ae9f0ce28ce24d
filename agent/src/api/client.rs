//! The other end of the API, for the command line and for programs in Rust.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::DuplexStream;
use tokio::net::{TcpStream, UnixStream};

use super::backend::{AdminReply, QueryReply, QueryRequest};
use super::consumers::{ConsumerStatus, Consumers};
use super::error::{ApiError, ErrorCode, ErrorLine};
use super::group::GroupDone;
use super::status::Status;
use super::stream::AnyStream;
use super::trace::Trace;
use super::verdict::{ViewAt, ViewAtRequest, ViewVerdict};

/// Where a node's API is.
#[derive(Clone)]
pub enum Target {
    /// A Unix socket.
    Unix(PathBuf),
    /// A loopback address and its token.
    Tcp(SocketAddr, Arc<str>),
    /// A server within the process: each call gives the client's end of a new connection.
    InProcess(Arc<dyn Fn() -> DuplexStream + Send + Sync>),
}

/// A node's API. Each request has its own connection.
#[derive(Clone)]
pub struct Client {
    target: Target,
}

/// Why a request has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing answers there.
    Unreachable(String, std::io::Error),
    /// The node refuses.
    Refused(ApiError),
    /// The connection broke in the middle.
    Broken(String),
    /// What answers does not speak as this program does.
    NotUnderstood(String),
}

impl Client {
    /// A client; connects with the first request.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target }
    }

    /// Sends lines to a topic. `query` holds the parameters of `docs/api.md`, percent-encoded;
    /// the answer's lines come while the body is still being sent.
    ///
    /// # Errors
    /// When the first lines are refused, or nothing answers.
    pub async fn append<B>(&self, topic: &str, query: &str, body: B) -> Result<Lines, ClientError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let path = with_query(format!("/v1/topics/{}/records", encoded(topic)), query);
        let body = body.map_err(Into::into).boxed_unsync();
        self.call(Method::POST, &path, &[], body).await.map(Lines::new)
    }

    /// Appends records together: `body` is the JSON of `docs/api.md`, `key` its idempotency key.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn group(&self, body: Vec<u8>, key: Option<&str>) -> Result<GroupDone, ClientError> {
        let body = Full::new(Bytes::from(body)).map_err(Into::into).boxed_unsync();
        let headers: Vec<_> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let response = self.call(Method::POST, "/v1/groups", &headers, body).await?;
        json(response).await
    }

    /// Reads a topic to its end, or to `max`.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn read(&self, topic: &str, query: &str) -> Result<Lines, ClientError> {
        let path = with_query(format!("/v1/topics/{}/records", encoded(topic)), query);
        self.call(Method::GET, &path, &[], nothing()).await.map(Lines::new)
    }

    /// Follows a topic, behind the record with the id `last_event` if one is given.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn follow(
        &self,
        topic: &str,
        query: &str,
        last_event: Option<&str>,
    ) -> Result<Follow, ClientError> {
        let path = with_query(format!("/v1/topics/{}/records", encoded(topic)), query);
        let mut headers = vec![(ACCEPT.as_str(), "text/event-stream")];
        headers.extend(last_event.map(|id| ("last-event-id", id)));
        let response = self.call(Method::GET, &path, &headers, nothing()).await?;
        Ok(Follow { lines: Lines::new(response) })
    }

    /// Gives a member of a consumer its next records. `wanted` is the body that docs/consumers.md
    /// tells.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn fetch(
        &self,
        consumer: &str,
        wanted: &serde_json::Value,
    ) -> Result<Lines, ClientError> {
        let path = format!("/v1/consumers/{}/fetch", encoded(consumer));
        let body = Full::new(Bytes::from(wanted.to_string())).map_err(Into::into).boxed_unsync();
        self.call(Method::POST, &path, &[], body).await.map(Lines::new)
    }

    /// How the node is.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.json(Method::GET, "/v1/status", nothing()).await
    }

    /// How far consumers are.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn consumers(&self) -> Result<Consumers, ClientError> {
        self.json(Method::GET, "/v1/consumers", nothing()).await
    }

    /// How far a consumer is.
    ///
    /// # Errors
    /// There is none, or nothing answers.
    pub async fn consumer(&self, name: &str) -> Result<ConsumerStatus, ClientError> {
        self.json(Method::GET, &format!("/v1/consumers/{}", encoded(name)), nothing()).await
    }

    /// Asks the views.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn query(&self, request: &QueryRequest) -> Result<QueryReply, ClientError> {
        // The request has text keys only, so that this cannot fail.
        let body = Full::new(Bytes::from(serde_json::to_vec(request).unwrap_or_default()));
        let body = body.map_err(Into::into).boxed_unsync();
        self.json(Method::POST, "/v1/query", body).await
    }

    /// Asks the views again and again; an event has another answer whenever it has changed, but for
    /// the one with the id `last_event`.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn live(
        &self,
        request: &QueryRequest,
        last_event: Option<&str>,
    ) -> Result<Follow, ClientError> {
        let body = Full::new(Bytes::from(serde_json::to_vec(request).unwrap_or_default()));
        let body = body.map_err(Into::into).boxed_unsync();
        let mut headers = vec![(ACCEPT.as_str(), "text/event-stream")];
        headers.extend(last_event.map(|id| ("last-event-id", id)));
        let response = self.call(Method::POST, "/v1/query", &headers, body).await?;
        // Each event is a whole answer.
        Ok(Follow { lines: Lines { line_bytes_max: ANSWER_BYTES_MAX, ..Lines::new(response) } })
    }

    /// Has a view's rows compared with what the log makes, which takes as long as making them.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn verify_view(&self, view: &str) -> Result<ViewVerdict, ClientError> {
        let path = format!("/v1/views/{}/verify", encoded(view));
        self.json(Method::POST, &path, nothing()).await
    }

    /// Asks a view's rows as they were behind a record, which takes as long as making them.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn view_at(&self, view: &str, wanted: &ViewAtRequest) -> Result<ViewAt, ClientError> {
        let path = format!("/v1/views/{}/at", encoded(view));
        let body = Full::new(Bytes::from(serde_json::to_vec(wanted).unwrap_or_default()));
        self.json(Method::POST, &path, body.map_err(Into::into).boxed_unsync()).await
    }

    /// Where a record came from, and what it touched.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn trace(&self, coordinates: &str) -> Result<Trace, ClientError> {
        let path = format!("/v1/trace?record={}", encoded(coordinates));
        self.json(Method::GET, &path, nothing()).await
    }

    /// Asks for something that only an operator may.
    ///
    /// # Errors
    /// As the node says, or when nothing answers.
    pub async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<AdminReply, ClientError> {
        let body = match body {
            Some(body) => {
                let body = Full::new(Bytes::from(body.to_string()));
                body.map_err(Into::into).boxed_unsync()
            }
            None => nothing(),
        };
        self.json(method, path, body).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: RequestBody,
    ) -> Result<T, ClientError> {
        json(self.call(method, path, &[], body).await?).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "landfall");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Target::Tcp(_, token) = &self.target {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = send(self.target.connect().await?, request, body).await?;
        if response.status() == StatusCode::OK || response.status() == StatusCode::CREATED {
            return Ok(response);
        }
        Err(refused(response).await)
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// Bytes of an answer that is one JSON object: ten thousand sites fit.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes of a line of an answer: a record of 240 KiB grows by escapes to at most six times.
const LINE_BYTES_MAX: usize = 2 << 20;

fn nothing() -> RequestBody {
    Empty::new().map_err(Into::into).boxed_unsync()
}

impl Target {
    async fn connect(&self) -> Result<AnyStream, ClientError> {
        let unreachable = |place: String| |error| ClientError::Unreachable(place, error);
        Ok(AnyStream(match self {
            Self::Unix(path) => {
                let failed = unreachable(path.display().to_string());
                Box::new(UnixStream::connect(path).await.map_err(failed)?)
            }
            Self::Tcp(address, _) => {
                let failed = unreachable(address.to_string());
                Box::new(TcpStream::connect(address).await.map_err(failed)?)
            }
            Self::InProcess(connect) => Box::new(connect()),
        }))
    }
}

async fn send(
    stream: AnyStream,
    request: hyper::http::request::Builder,
    body: RequestBody,
) -> Result<Response<Incoming>, ClientError> {
    let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
    let request =
        request.body(body).map_err(|error| ClientError::NotUnderstood(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream.0)).await.map_err(broken)?;
    // It ends with the answer's body; what goes wrong on it the body tells.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

async fn json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let bytes = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = bytes.map_err(|error| ClientError::Broken(error.to_string()))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| ClientError::NotUnderstood(error.to_string()))
}

async fn refused(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    match body {
        Some(error) => ClientError::Refused(error),
        None => ClientError::NotUnderstood(format!("status {status} without an error in JSON")),
    }
}

/// The lines of an answer, as they come.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    buffer: BytesMut,
    searched: usize,
    line_bytes_max: usize,
}

impl Lines {
    fn new(response: Response<Incoming>) -> Self {
        let line_bytes_max = LINE_BYTES_MAX;
        Self { body: response.into_body(), buffer: BytesMut::new(), searched: 0, line_bytes_max }
    }

    /// The next line without its end; `None` at the end of the answer.
    ///
    /// # Errors
    /// When the connection breaks, or an `{"error": …}` line says what the node refused.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let Some(line) = self.next_any().await? else { return Ok(None) };
        if line.starts_with(b"{\"error\":") {
            return Err(error_in(&line));
        }
        Ok(Some(line))
    }

    async fn next_any(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let unseen = self.buffer.iter().skip(self.searched);
            if let Some(end) = unseen.copied().position(|byte| byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > self.line_bytes_max {
                return Err(ClientError::NotUnderstood("a line without end".to_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Some(Err(error)) => return Err(ClientError::Broken(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::Broken("the last line is cut off".to_owned())),
            }
        }
    }
}

/// The events of a topic, as they come.
#[derive(Debug)]
pub struct Follow {
    lines: Lines,
}

/// A server-sent event.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// Where to go on behind it.
    pub id: String,
    /// What it is, empty for a record.
    pub kind: String,
    /// One line of JSON.
    pub data: Bytes,
}

impl Follow {
    /// The next event; `None` when the answer ends.
    ///
    /// # Errors
    /// When the connection breaks, or the node ends the stream by an error.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        let mut event = Event::default();
        while let Some(line) = self.lines.next_any().await? {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            if let Some(id) = line.strip_prefix(b"id: ") {
                event.id = text(id);
            } else if let Some(kind) = line.strip_prefix(b"event: ") {
                event.kind = text(kind);
            } else if line.starts_with(b"data: ") {
                event.data = line.slice(6..);
            } else if line.is_empty() && event.kind == "error" {
                return Err(error_in(&event.data));
            } else if line.is_empty() && !event.data.is_empty() {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

fn error_in(line: &[u8]) -> ClientError {
    match serde_json::from_slice::<ErrorLine>(line) {
        Ok(ErrorLine { error }) => ClientError::Refused(error),
        Err(error) => ClientError::NotUnderstood(error.to_string()),
    }
}

/// `text` fit for a path or the value of a parameter.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn with_query(path: String, query: &str) -> String {
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

impl ClientError {
    /// Whether the node said that it may go on later, with the same cursor.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(..) | Self::Broken(_) => true,
            Self::Refused(error) => matches!(error.code, ErrorCode::Busy | ErrorCode::Stopping),
            Self::NotUnderstood(_) => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(place, error) => {
                write!(f, "no node answers at {place}: {error}; is it running?")
            }
            Self::Refused(error) => error.fmt(f),
            Self::Broken(message) => {
                write!(f, "the connection to the node broke: {message}; its log may say why")
            }
            Self::NotUnderstood(message) => {
                write!(f, "the answer is not that of a Landfall node of this version: {message}")
            }
        }
    }
}

impl std::error::Error for ClientError {}
