//! What is asked of a test's broker in Kafka's protocol, byte by byte: what a user may do, by rules
//! that are made and taken back while it runs; and whom it remembers. Kafka's own tools need a Java
//! machine for each call, and the client library of the tests has no calls for it.

#![expect(clippy::big_endian_bytes, reason = "Kafka's protocol has numbers that way")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests of Kafka's protocol, and the versions of them that are used.
const CREATE_ACLS: [i16; 2] = [30, 1];
const DELETE_ACLS: [i16; 2] = [31, 1];
const LIST_TRANSACTIONS: [i16; 2] = [66, 0];
/// An answer that is longer is none.
const ANSWER_BYTES_MAX: u32 = 1 << 20;

/// What a right is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum On<'a> {
    /// A topic.
    Topic(&'a str),
    /// All topics whose names begin like this.
    Topics(&'a str),
    /// A consumer group.
    Group(&'a str),
    /// All transactional ids that begin like this.
    TransactionalIds(&'a str),
}

/// What somebody does with it. The numbers are the protocol's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Reads it.
    Read = 3,
    /// Writes it.
    Write = 4,
    /// Makes it.
    Create = 5,
    /// Asks whether it is there.
    Describe = 8,
}

/// Whether a rule allows or denies. What is denied no other rule allows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rule {
    /// It denies.
    Deny = 2,
    /// It allows.
    Allow = 3,
}

/// Makes rules for a user.
///
/// # Errors
/// The broker refuses, or can't be reached.
pub fn make(
    broker: SocketAddr,
    user: &str,
    rule: Rule,
    rights: &[(On<'_>, &[Operation])],
) -> io::Result<()> {
    change(broker, CREATE_ACLS, &encoded(user, rule, rights))
}

/// Takes rules back.
///
/// # Errors
/// The broker refuses, or can't be reached.
pub fn take_back(
    broker: SocketAddr,
    user: &str,
    rule: Rule,
    rights: &[(On<'_>, &[Operation])],
) -> io::Result<()> {
    // A filter looks as the rule does that it means.
    change(broker, DELETE_ACLS, &encoded(user, rule, rights))
}

/// Each rule by itself.
fn encoded(user: &str, rule: Rule, rights: &[(On<'_>, &[Operation])]) -> Vec<Vec<u8>> {
    let each = |on: On<'_>, operation: Operation| {
        let (resource, name, pattern) = parts(on);
        let mut bytes = vec![resource];
        put_text(&mut bytes, name);
        bytes.push(pattern);
        put_text(&mut bytes, &format!("User:{user}"));
        // From any host.
        put_text(&mut bytes, "*");
        bytes.extend([operation as u8, rule as u8]);
        bytes
    };
    let all = rights.iter().flat_map(|(on, operations)| operations.iter().map(|each| (*on, *each)));
    all.map(|(on, operation)| each(on, operation)).collect()
}

/// The kind of a resource, its name, and how the name is to be taken.
fn parts(on: On<'_>) -> (u8, &str, u8) {
    const LITERAL: u8 = 3;
    const PREFIXED: u8 = 4;
    match on {
        On::Topic(name) => (2, name, LITERAL),
        On::Topics(prefix) => (2, prefix, PREFIXED),
        On::Group(name) => (3, name, LITERAL),
        On::TransactionalIds(prefix) => (5, prefix, PREFIXED),
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(i16::try_from(text.len()).expect("names are short").to_be_bytes());
    bytes.extend(text.as_bytes());
}

/// Sends rules, or filters of rules, and looks whether the first was taken.
fn change(broker: SocketAddr, request: [i16; 2], each: &[Vec<u8>]) -> io::Result<()> {
    let count = i32::try_from(each.len()).expect("rules are few");
    let answer = ask(broker, request, &[&count.to_be_bytes()[..], &each.concat()].concat())?;
    // Behind the correlation, the time to wait, and a number of results: the first error.
    match answer.get(8..14) {
        Some([_, _, _, _, 0, 0]) => Ok(()),
        _ => Err(io::Error::other(format!("the broker does not change rules: {answer:?}"))),
    }
}

/// How many transactional ids a broker remembers.
///
/// # Errors
/// The broker refuses, or can't be reached.
pub fn transactional_ids(broker: SocketAddr) -> io::Result<usize> {
    // No tags; no states and no producers to choose by, each as a length that counts from 1.
    let answer = ask(broker, LIST_TRANSACTIONS, &[0, 1, 1, 0])?;
    // Behind the correlation, its tags, and the time to wait: the error, no unknown states, and
    // the number, which is of one byte, since they are few.
    match answer.get(9..13) {
        Some([0, 0, 1, count]) => Ok(usize::from(count.saturating_sub(1))),
        _ => Err(io::Error::other(format!("the broker does not list transactions: {answer:?}"))),
    }
}

/// Sends a request, and returns what comes behind the length of the answer.
fn ask(broker: SocketAddr, [request, version]: [i16; 2], body: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.extend(request.to_be_bytes());
    bytes.extend(version.to_be_bytes());
    // The correlation, and no name of a client.
    bytes.extend([0, 0, 0, 1, 0xFF, 0xFF]);
    bytes.extend(body);
    let len = u32::try_from(bytes.len()).expect("requests are short");
    let mut stream = TcpStream::connect_timeout(&broker, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&len.to_be_bytes()[..], &bytes].concat())?;
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_be_bytes(len);
    if len > ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut answer = vec![0; len as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
