//! What the rest of the node has of the views: how they are, and answers to questions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::at::{at, remove_past};
use super::definition::Definition;
use super::feed::Told;
use super::heap::{self, Shed};
use super::keeper::{Board, begin, start};
use super::query::{query_until, views_of};
use super::verify::{remove_shadow, verify};
use crate::api::limits::QUERIES_MAX;
use crate::api::{
    Alarm, ApiError, Backend, ErrorCode, QueryReply, QueryRequest, Status, ViewAt, ViewAtRequest,
    ViewState, ViewStatus, ViewVerdict,
};
use crate::quantity::{ByteSize, duration_text};

/// The views of a running node. Clones are handles to the same views.
#[derive(Clone, Debug)]
pub struct Views {
    board: watch::Receiver<Board>,
    told: mpsc::Sender<Told>,
    path: PathBuf,
    places: Arc<Semaphore>,
    shed: Shed,
    verifying: Arc<Mutex<()>>,
    asked: Arc<watch::Sender<u64>>,
}

/// The thread that keeps the views.
#[derive(Debug)]
pub struct Keeping {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

/// Bytes beside the database beyond which a reader has held a transaction for too long.
const WAL_BYTES_MAX: u64 = 64 << 20;

/// How long a reader may hold a transaction before that is told.
const READER_HOLDS_MS_MAX: i64 = 60_000;

/// What to say of a reader that has held a transaction for too long.
fn reader_holds(board: &Board, now_ms: i64) -> Option<String> {
    let held_ms = board.held_since_ms.map_or(0, |since| now_ms.saturating_sub(since));
    if board.wal_bytes <= WAL_BYTES_MAX && held_ms < READER_HOLDS_MS_MAX {
        return None;
    }
    let time = duration_text(Duration::from_millis(held_ms.max(0).unsigned_abs()));
    Some(format!(
        "a program has been reading in one transaction for {time}, and {} wait beside the database \
         until it ends; the views go on",
        ByteSize(board.wal_bytes)
    ))
}

/// Keeps views of a node in the file of `data`. Without any to keep, and none to forget, there is
/// nothing to do. All of SQLite takes no more bytes than `most` says, and so many queries run at a
/// time.
///
/// # Errors
/// No thread can be had.
pub(crate) fn keep<B: Backend>(
    backend: B,
    data: &Path,
    wanted: Vec<Definition>,
    most: (u64, usize),
) -> std::io::Result<Option<(Views, Keeping)>> {
    let path = data.join(super::FILE_NAME);
    if wanted.is_empty() && !path.exists() {
        return Ok(None);
    }
    if let Err(error) = heap::limit_process(most.0) {
        tracing::warn!(%error, "SQLite can't be kept to its share of the memory");
    }
    for view in &wanted {
        // What a node that was killed left.
        remove_shadow(data, &view.name);
        remove_past(data, &view.name);
    }
    let (stop, stopping) = oneshot::channel();
    let shed = Shed::default();
    let (asked, hears) = watch::channel(0);
    let (told, board, ended) = start(backend, data, wanted, (shed.clone(), stopping, hears))?;
    let places = Arc::new(Semaphore::new(most.1.clamp(1, QUERIES_MAX)));
    let verifying = Arc::default();
    let asked = Arc::new(asked);
    let views = Views { board, told, path, places, shed, verifying, asked };
    Ok(Some((views, Keeping { stop, ended })))
}

/// Views that are kept by whoever polls `keeping`. Dropped, it leaves behind what a process does
/// that is killed between two transactions.
pub struct Polled {
    /// How they are.
    pub board: watch::Receiver<Board>,
    /// Keeps them, and ends when `stop` is sent or dropped.
    pub keeping: Pin<Box<dyn Future<Output = ()>>>,
    /// Ends them in good order.
    pub stop: oneshot::Sender<()>,
}

/// Keeps views in the file of `data` as a node does, without a thread of their own: for whoever
/// decides what happens when, as a simulation does.
pub fn keep_polled<B: Backend>(backend: B, data: &Path, wanted: Vec<Definition>) -> Polled {
    let (stop, stopping) = oneshot::channel();
    // Nobody waits for a commit: whoever polls decides when there is enough.
    let (_, hears) = watch::channel(0);
    let (_, board, keeping) = begin(backend, data, wanted, (Shed::default(), stopping, hears));
    Polled { board, keeping: Box::pin(keeping), stop }
}

impl Views {
    /// How the views are, for whoever waits for a change.
    #[must_use]
    pub fn board(&self) -> watch::Receiver<Board> {
        self.board.clone()
    }

    /// Adds how the views are to a node's status. `last_commit` is the log's, and `missed` the
    /// records that went before views came to them, since these are where they are.
    pub fn report(&self, status: &mut Status, last_commit: u64, missed: &BTreeMap<String, u64>) {
        let board = self.board.borrow().clone();
        let held = reader_holds(&board, status.now_ms);
        let Board { mut views, trouble, .. } = board;
        for view in &mut views {
            view.lacking += missed.get(&view.view).copied().unwrap_or_default();
            let seen_all = view.caught_up && view.state == ViewState::Running;
            view.behind_commits =
                if seen_all { 0 } else { last_commit.saturating_sub(view.commit) };
        }
        let mut alarm = |what: &str, place: &str, hint: String| {
            let (what, place) = (what.to_owned(), place.to_owned());
            status.alarms.push(Alarm { what, place, hint, since_ms: status.now_ms });
        };
        for view in &views {
            if let Some(reason) = &view.reason {
                alarm("view", &view.view, reason.clone());
            }
        }
        if let Some(hint) = held {
            alarm("views' reader", super::FILE_NAME, hint);
        }
        if let Some(trouble) = trouble {
            alarm("views' file", super::FILE_NAME, trouble);
        }
        status.views = views;
    }

    /// Compares a view's rows with what the log of `backend`, the node, makes; one view at a time.
    ///
    /// # Errors
    /// Those of [`verify`](super::verify()).
    pub(crate) async fn verify<B: Backend>(
        &self,
        backend: B,
        view: &str,
    ) -> Result<ViewVerdict, ApiError> {
        let _only = self.verifying.lock().await;
        verify(backend, self.path.parent().unwrap_or(Path::new(".")), view).await
    }

    /// Answers a question to a view's rows as they were behind a record; one view at a time.
    ///
    /// # Errors
    /// Those of [`at`](super::at()).
    pub(crate) async fn at<B: Backend>(
        &self,
        backend: B,
        view: &str,
        wanted: ViewAtRequest,
    ) -> Result<ViewAt, ApiError> {
        let _only = self.verifying.lock().await;
        at(backend, self.path.parent().unwrap_or(Path::new(".")), view, wanted).await
    }

    /// Waits until the views have begun: their tables are there, or it is known why not.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn begun(&self) -> Result<(), ApiError> {
        let mut board = self.board.clone();
        let known = board.wait_for(|board| board.standing.is_some() || board.trouble.is_some());
        known.await.map(drop).map_err(stopping)
    }

    /// Waits until the views that a question reads have begun, and seen a commit of the log.
    ///
    /// # Errors
    /// One of them has stopped, so that it never will; or the node is stopping.
    pub async fn reach(&self, sql: String, commit: u64) -> Result<(), ApiError> {
        // Before that nobody knows which views it reads.
        self.begun().await?;
        let path = self.path.clone();
        // What is wrong with the question is told when it is asked.
        let read = tokio::task::spawn_blocking(move || views_of(&path, &sql)).await;
        let Ok(Some(read)) = read else { return Ok(()) };
        self.asked.send_if_modified(|asked| {
            let later = *asked < commit;
            *asked = commit.max(*asked);
            later
        });
        let stopped = |view: &ViewStatus| {
            let stands = matches!(view.state, ViewState::Failed | ViewState::Halted);
            stands && read.contains(&view.view)
        };
        let has_seen = |board: &Board| {
            let sees = |view| board.through.get(view).is_some_and(|through| *through >= commit);
            read.iter().all(sees) || board.views.iter().any(stopped)
        };
        let mut board = self.board.clone();
        let seen = board.wait_for(has_seen).await.map_err(stopping)?;
        match seen.views.iter().find(|view| stopped(view)) {
            Some(view) => {
                let text = format!("the view `{}` has stopped, and sees nothing more", view.view);
                let reason = view.reason.clone().unwrap_or_default();
                Err(ApiError::new(ErrorCode::Conflict, text).with_hint(reason))
            }
            None => Ok(()),
        }
    }

    /// Asks the views' file. While the views begin, what it lacks is waited for.
    ///
    /// # Errors
    /// Those of [`query`](super::query()).
    pub async fn query(&self, request: QueryRequest) -> Result<QueryReply, ApiError> {
        let has_begun = self.board.borrow().standing.is_some();
        let answer = self.ask(request.clone()).await;
        if has_begun || answer.is_ok() {
            return answer;
        }
        let time_max = Duration::from_millis(request.time_max_ms);
        match tokio::time::timeout(time_max, self.begun()).await {
            Ok(Ok(())) => self.ask(request).await,
            Ok(Err(stopping)) => Err(stopping),
            Err(_) => answer,
        }
    }

    async fn ask(&self, request: QueryRequest) -> Result<QueryReply, ApiError> {
        // Nobody closes the semaphore.
        let _place = self.places.acquire().await;
        let (path, shed) = (self.path.clone(), self.shed.clone());
        let asked = tokio::task::spawn_blocking(move || query_until(&path, &request, &shed)).await;
        let failed = |_| ApiError::new(ErrorCode::Internal, "the query did not end");
        let answer = asked.map_err(failed)?;
        if answer.as_ref().is_err_and(|error| error.code == ErrorCode::Internal) {
            // If the keeper is gone, the node stops.
            let _ = self.told.send(Told::Suspect).await;
        }
        answer
    }
}

fn stopping(_: watch::error::RecvError) -> ApiError {
    ApiError::new(ErrorCode::Stopping, "the node is stopping")
}

impl Keeping {
    /// Stops in good order: what is under way is finished.
    pub async fn stop(self) {
        // If the thread is gone, it has stopped.
        let _ = self.stop.send(());
        let _ = self.ended.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::memory::Memory;
    use crate::views::file::ViewFile;

    /// Views that have not begun, and what tells of them.
    fn views_at_a_start(data: &Path) -> (Views, watch::Sender<Board>) {
        let (tells, board) = watch::channel(Board::default());
        let views = Views {
            board,
            told: mpsc::channel(1).0,
            path: data.join(super::super::FILE_NAME),
            places: Arc::new(Semaphore::new(1)),
            shed: Shed::default(),
            verifying: Arc::default(),
            asked: Arc::default(),
        };
        (views, tells)
    }

    /// Time that passes as soon as nothing else is to be done.
    async fn idle() {
        let forever = std::future::pending::<()>();
        assert!(tokio::time::timeout(Duration::from_secs(1), forever).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_comes_before_the_views_have_begun_waits_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let (views, tells) = views_at_a_start(folder.path());
        let begins = async {
            idle().await;
            let (file, _) = ViewFile::open(&views.path).unwrap();
            file.connection.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES(7)").unwrap();
            tells.send_replace(Board { standing: Some(Vec::new()), ..Board::default() });
            file
        };
        let asked = views.query(QueryRequest::new("SELECT a FROM t"));
        let (answer, _file) = tokio::join!(asked, begins);
        assert_eq!(answer.unwrap().rows, [[7]]);
        let wrong = views.query(QueryRequest::new("SELECT a FROM nothing")).await.unwrap_err();
        assert_eq!(wrong.code, ErrorCode::BadRequest);
    }

    #[tokio::test(start_paused = true)]
    async fn which_views_must_have_seen_a_commit_is_known_when_they_have_begun() {
        let folder = tempfile::tempdir().unwrap();
        let (views, tells) = views_at_a_start(folder.path());
        let reached = async {
            let reach = views.reach("SELECT a FROM t".to_owned(), 5);
            tokio::time::timeout(Duration::from_secs(9), reach).await
        };
        let begins = async {
            idle().await;
            let (file, _) = ViewFile::open(&views.path).unwrap();
            let made = "CREATE TABLE t(a); INSERT INTO _objects VALUES('t', 'table', 't')";
            file.connection.execute_batch(made).unwrap();
            let standing = Some(Vec::new());
            tells.send_modify(|board| board.standing = standing);
            idle().await;
            let asked = *views.asked.borrow();
            tells.send_modify(|board| board.through = BTreeMap::from([("t".to_owned(), 5)]));
            asked
        };
        let (reached, asked) = tokio::join!(reached, begins);
        assert_eq!((reached, asked), (Ok(Ok(())), 5), "it waited for the view");
    }

    #[test]
    fn a_reader_that_holds_a_transaction_for_a_minute_or_64_mib_is_told() {
        let board =
            |held_since_ms, wal_bytes| Board { held_since_ms, wal_bytes, ..Board::default() };
        assert_eq!(reader_holds(&board(None, 1 << 20), 90_000), None);
        assert_eq!(reader_holds(&board(Some(60_000), 1 << 20), 119_999), None);
        let told = reader_holds(&board(Some(60_000), 1 << 20), 660_000).unwrap();
        assert!(told.contains("for 10m") && told.contains("1 MiB wait"), "{told}");
        assert!(reader_holds(&board(None, 65 << 20), 90_000).is_some());
    }

    #[tokio::test]
    async fn the_status_has_an_alarm_about_such_a_reader() {
        let folder = tempfile::tempdir().unwrap();
        let (views, tells) = views_at_a_start(folder.path());
        let told = async || {
            let mut status = Memory::default().status().await.unwrap();
            views.report(&mut status, 0, &BTreeMap::new());
            status.alarms.into_iter().map(|alarm| alarm.what).collect::<Vec<_>>()
        };
        assert!(told().await.is_empty());
        tells.send_modify(|board| board.wal_bytes = 65 << 20);
        assert_eq!(told().await, ["views' reader"]);
    }
}
