//! The views of a host, kept by the code that the daemon keeps them with, as a part of a process
//! that may be killed at any moment. What they ask waits until the world is asked.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use landfall::api::{
    AdminCommand, AdminReply, ApiError, AppendReceipt, AppendRequest, Backend, ClockStatus,
    ErrorCode, MediumStatus, MemoryStatus, Place, QueryReply, QueryRequest, ReadPage, ReadQuery,
    Status, StreamsSummary, Ticket,
};
use landfall::daemon::Readers;
use landfall::views::definition::Definition;
use landfall::views::{Board, Polled, keep_polled};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// What views ask their node.
pub(crate) enum Asked {
    Read(Box<ReadQuery>, oneshot::Sender<Result<ReadPage, ApiError>>),
    Append(AppendRequest, oneshot::Sender<Result<AppendReceipt, ApiError>>),
}

/// The node, as its views see it.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    site: String,
    asked: VecDeque<Asked>,
    /// The last commit that is durable.
    synced: u64,
    closed: bool,
    /// Who waits for another one, in the order in which they came.
    waiting: Vec<Waker>,
}

/// The views of a host as long as its process lives.
pub(crate) struct Process {
    desk: Desk,
    board: watch::Receiver<Board>,
    keeping: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    pub(crate) readers: Readers,
}

impl Process {
    /// Begins to keep views of a site in a folder.
    pub(crate) fn start(site: &str, data: &Path, wanted: Vec<Definition>) -> Self {
        let desk = Desk::default();
        desk.state().site = site.to_owned();
        let Polled { board, keeping, stop } = keep_polled(desk.clone(), data, wanted);
        let keeping = tokio::task::spawn_local(keeping);
        Self { desk, board, keeping, stop, readers: Readers::default() }
    }

    /// What they ask next, when they have done all that they can.
    pub(crate) async fn next(&self) -> Option<Asked> {
        idle().await;
        self.desk.state().asked.pop_front()
    }

    /// Tells how far the log is durable.
    pub(crate) fn has_synced(&self, commit: u64) {
        let mut state = self.desk.state();
        state.synced = commit;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn board(&self) -> Board {
        self.board.borrow().clone()
    }

    /// Ends between two transactions.
    pub(crate) async fn kill(self) {
        self.keeping.abort();
        self.desk.close();
        idle().await;
    }

    /// Ends in good order.
    pub(crate) async fn end(self) {
        // If it is gone, it has ended.
        let _ = self.stop.send(());
        let _ = self.keeping.await;
        self.desk.close();
        idle().await;
    }
}

/// Time that passes when nothing else is to be done; longer than views wait for company.
pub(crate) async fn idle() {
    let _ = tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
}

fn stopping() -> ApiError {
    ApiError::new(ErrorCode::Stopping, "the node is gone")
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.asked.clear();
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn ask(&self, asked: Asked) {
        let mut state = self.state();
        if !state.closed {
            state.asked.push_back(asked);
        }
    }
}

impl Backend for Desk {
    async fn append(&self, request: AppendRequest) -> Result<Ticket, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Append(request, answer));
        Ok(Ticket::new(async { answered.await.unwrap_or_else(|_| Err(stopping())) }))
    }

    async fn read(&self, query: ReadQuery) -> Result<ReadPage, ApiError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Read(Box::new(query), answer));
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn wait(&self, through: u64) {
        poll_fn(|context| {
            let mut state = self.state();
            if state.closed || state.synced > through {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    async fn status(&self) -> Result<Status, ApiError> {
        Ok(Status {
            site: self.state().site.clone(),
            version: String::new(),
            log_id: String::new(),
            epoch: String::new(),
            now_ms: 0,
            clock: ClockStatus::default(),
            lanes: Vec::new(),
            link: None,
            subscriptions: Vec::new(),
            streams: StreamsSummary::default(),
            forks: Vec::new(),
            gaps: Vec::new(),
            alarms: Vec::new(),
            sites: Vec::new(),
            offences: BTreeMap::new(),
            views: Vec::new(),
            consumers: Vec::new(),
            medium: MediumStatus::default(),
            memory: MemoryStatus::default(),
        })
    }

    async fn query(&self, _: QueryRequest) -> Result<QueryReply, ApiError> {
        Err(stopping())
    }

    async fn reach(&self, _: Place) -> Result<u64, ApiError> {
        Err(stopping())
    }

    async fn admin(&self, _: AdminCommand) -> Result<AdminReply, ApiError> {
        Err(stopping())
    }
}
