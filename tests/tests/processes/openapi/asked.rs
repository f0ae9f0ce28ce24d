//! A node that is asked over raw sockets, each answer held against the node's own document.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use landfall_tests::openapi::{Document, Operation};
use landfall_tests::process::{NodeDir, PATIENCE};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// What was asked so far, and what came of it.
pub(super) struct Asked {
    pub(super) document: Document,
    answered: BTreeSet<(Operation, String)>,
    taken: BTreeSet<(Operation, String, String)>,
    codes: BTreeSet<String>,
}

/// An answer of a node.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: String,
    pub(super) content_type: String,
    pub(super) body: String,
}

/// How a node is reached.
pub(super) enum Way {
    Socket(std::path::PathBuf),
    Tcp(SocketAddr),
}

impl Way {
    pub(super) fn to(node: &NodeDir) -> Self {
        Self::Socket(node.path.join("landfall.sock"))
    }

    /// Sends a request line such as `GET /v1/status`, with lines of a head, and hears all of the
    /// answer. In HTTP/1.0 a body ends with its connection.
    pub(super) async fn send(&self, line: &str, head: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let request = format!("{line} HTTP/1.0\r\ncontent-length: {length}\r\n{head}\r\n{body}");
        let heard = async {
            match self {
                Self::Socket(path) => heard(UnixStream::connect(path).await?, &request).await,
                Self::Tcp(address) => heard(TcpStream::connect(address).await?, &request).await,
            }
        };
        tokio::time::timeout(PATIENCE, heard).await?
    }
}

async fn heard(mut stream: impl AsyncRead + AsyncWrite + Unpin, ask: &str) -> io::Result<Answer> {
    // What is refused early is answered before all of it was taken.
    let _ = stream.write_all(ask.as_bytes()).await;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(io::Error::other(format!("no answer to {ask:.80}: {read:?} {text}")));
    };
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then(|| value.to_owned())
    });
    Ok(Answer {
        status: head.split(' ').nth(1).unwrap_or_default().to_owned(),
        content_type: kind.unwrap_or_default(),
        body: body.to_owned(),
    })
}

impl Asked {
    /// Begins with the document that the node serves.
    pub(super) async fn of(way: &Way) -> Self {
        let answer = way.send("GET /v1/openapi.json", "", "").await.unwrap();
        let document = Document(serde_json::from_str(&answer.body).unwrap());
        let (answered, taken, codes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { document, answered, taken, codes }
    }

    /// Asks, and holds the answer against the document.
    pub(super) async fn ask(&mut self, way: &Way, line: &str, body: &str, status: u16) -> Answer {
        self.ask_with(way, line, "", body, status).await
    }

    /// The same with lines of a head.
    pub(super) async fn ask_with(
        &mut self,
        way: &Way,
        line: &str,
        head: &str,
        body: &str,
        status: u16,
    ) -> Answer {
        let answer = way.send(line, head, body).await.unwrap();
        assert_eq!(answer.status, status.to_string(), "{line} {body:.200}: {answer:?}");
        let operation = self.check(line, &answer);
        if status < 300 {
            if let Err(wrong) = self.document.check_request(&operation, body) {
                panic!("{line}: {wrong}: {body}");
            }
            self.note_parameters(&operation, line, head);
        }
        answer
    }

    /// Holds an answer against the document.
    pub(super) fn check(&mut self, line: &str, answer: &Answer) -> Operation {
        let (method, address) = line.split_once(' ').unwrap();
        let path = address.split('?').next().unwrap();
        let operation = self.document.operation(&method.to_lowercase(), path);
        let operation = operation.unwrap_or_else(|| panic!("the document has no {line}"));
        let Answer { status, content_type, body } = answer;
        if let Err(wrong) = self.document.check(&operation, status, content_type, body) {
            panic!("{line}, {status}: {wrong}");
        }
        self.answered.insert((operation.clone(), status.clone()));
        self.note_code(answer);
        operation
    }

    /// Takes note of the errors in an answer.
    pub(super) fn note_code(&mut self, answer: &Answer) {
        let lines = answer.body.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        for told in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let code = told["code"].as_str().or(told["error"]["code"].as_str());
            self.codes.extend(code.map(str::to_owned));
        }
    }

    /// Takes note of the parameters of a request that was taken.
    pub(super) fn note_parameters(&mut self, operation: &Operation, line: &str, head: &str) {
        let query = line.split_once('?').map_or("", |(_, query)| query);
        let names = query.split('&').filter_map(|pair| pair.split('=').next());
        let mut note = |place: &str, name: &str| {
            self.taken.insert((operation.clone(), place.to_owned(), name.to_lowercase()));
        };
        names.for_each(|name| note("query", name));
        head.lines().filter_map(|line| line.split_once(": ")).for_each(|(name, _)| {
            note("header", name);
        });
    }

    /// What the document states and no answer has shown.
    pub(super) fn not_shown(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for operation in self.document.operations() {
            let Operation { path, method } = &operation;
            for status in self.document.statuses(&operation) {
                if !self.answered.contains(&(operation.clone(), status.clone())) {
                    missing.push(format!("{method} {path}: {status}"));
                }
            }
            for (place, name) in self.document.parameters(&operation) {
                let taken = (operation.clone(), place.clone(), name.to_lowercase());
                if !self.taken.contains(&taken) {
                    missing.push(format!("{method} {path}: {place} parameter {name}"));
                }
            }
        }
        let codes = &self.document.0["components"]["schemas"]["Problem"]["properties"]["code"];
        let stated = codes["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        missing.extend(stated.filter(|code| !self.codes.contains(*code)).map(str::to_owned));
        missing
    }
}
