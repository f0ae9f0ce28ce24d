//! Freezing a process: nothing of it runs until it thaws.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether a process is frozen, and who waits for it to thaw.
#[derive(Clone, Debug, Default)]
pub(super) struct Freezer(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    frozen: bool,
    waiting: Vec<Waker>,
}

impl Freezer {
    pub(super) fn freeze(&self) {
        self.state(|state| state.frozen = true);
    }

    pub(super) fn thaw(&self) {
        let waiting = self.state(|state| {
            state.frozen = false;
            std::mem::take(&mut state.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.state(|state| state.frozen)
    }

    /// Pending while the process is frozen.
    pub(super) fn poll_runs(&self, context: &Context<'_>) -> Poll<()> {
        self.state(|state| {
            if !state.frozen {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
    }

    fn state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A task of a process that may be frozen.
pub(super) struct Task {
    pub(super) freezer: Freezer,
    pub(super) work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.freezer.poll_runs(context) {
            Poll::Ready(()) => self.work.as_mut().poll(context),
            Poll::Pending => Poll::Pending,
        }
    }
}
