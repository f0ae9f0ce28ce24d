//! What a client of the API may take.

use std::time::Duration;

/// Bytes of a request's head, and of a piece of its body.
pub const READ_BUFFER_BYTES: usize = 64 << 10;
/// Headers of a request.
pub const HEADERS_MAX: usize = 64;
/// How long a head may take to arrive, and a connection to stay unused.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a body that is one JSON object.
pub const JSON_BODY_BYTES_MAX: usize = 64 << 10;
/// Bytes of the body of a group: an entry of 256 KiB, and what JSON adds.
pub const GROUP_BODY_BYTES_MAX: usize = 1 << 20;
/// Records of a group.
pub const GROUP_RECORDS_MAX: usize = 1_024;
/// Conditions of a group.
pub const GROUP_CONDITIONS_MAX: usize = 16;
/// Commits of consumers in a group.
pub const GROUP_COMMITS_MAX: usize = 16;
/// Topics of a consumer.
pub const CONSUMER_TOPICS_MAX: usize = crate::node::consumer::TOPICS_MAX;
/// Letters of an idempotency key.
pub const IDEMPOTENCY_KEY_MAX: usize = 255;
/// Bytes of the value of a query parameter.
pub const PARAMETER_BYTES_MAX: usize = 1 << 10;
/// Appends of one request that wait to be durable; each holds at most one piece of the body, or one
/// record that spanned several.
pub const APPENDS_IN_FLIGHT_MAX: usize = 32;
/// Records in one append.
pub const APPEND_RECORDS_MAX: usize = 1024;
/// Bytes of values in one append, beyond which another is begun.
pub const APPEND_BYTES_MAX: usize = 128 << 10;
/// Bytes of records in one page.
pub const PAGE_BYTES_MAX: usize = 128 << 10;
/// Records in one page.
pub const PAGE_RECORDS_MAX: usize = 1024;
/// Pages that wait for a slow client; then reading stops until it takes them.
pub const PAGES_QUEUED_MAX: usize = 1;
/// Rows of an answer of the views.
pub const QUERY_ROWS_MAX: usize = 100_000;
/// Bytes of such an answer.
pub const QUERY_BYTES_MAX: usize = 8 << 20;
/// How long a query may be given.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a reader may wait for a position.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a member of a consumer waits before it is looked whether it has more keys.
pub const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How long a live query rests at least before it is asked again.
pub const LIVE_REST_MIN: Duration = Duration::from_millis(20);
/// How many times as long as its answer took it rests, so that it takes a share of a processor.
pub const LIVE_REST_TIMES: u32 = 3;
/// Queries at a time; others wait.
pub const QUERIES_MAX: usize = 4;
/// Silence after which a follower is sent a comment, so that both ends notice a lost peer.
pub const FOLLOW_COMMENT_AFTER: Duration = Duration::from_secs(15);
/// How long the node may take to say how it is before it counts as unwell.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of a refused body is read, so that the client gets to see why.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connections may go on when the node stops.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

// The queue must hold what a long commit takes in, or one producer cannot fill a commit.
const _: () = assert!(APPENDS_IN_FLIGHT_MAX * READ_BUFFER_BYTES >= 2 << 20);
