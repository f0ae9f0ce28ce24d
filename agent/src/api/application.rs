//! Who of the programs on this machine asks, and which topics it may write.
//!
//! A program is told by the token that it shows, on the socket too, or by the user that it runs as.
//! Programs of root and of the node's own user that show none may do all that an operator may.
//! Writers of a topic guard against mistakes; whoever owns the data directory can do anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{ApiError, ErrorCode};

/// The applications of a node, and the topics that only some of them write.
#[derive(Clone, Debug, Default)]
pub struct Applications {
    by_user: BTreeMap<u32, Arc<str>>,
    by_token: Vec<(Arc<str>, Arc<str>)>,
    writers: BTreeMap<String, BTreeSet<String>>,
    derived: BTreeMap<String, String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Caller {
    /// The application, if it is one of those that are configured.
    pub(super) application: Option<Arc<str>>,
    /// Whether it may not do what an operator does: it shows the token of an application, or runs
    /// as another user.
    pub(super) is_guest: bool,
}

impl Applications {
    /// Programs that run as a user are this application.
    pub fn add_user(&mut self, user: u32, application: &str) {
        self.by_user.insert(user, application.into());
    }

    /// Programs that show a token are this application.
    pub fn add_token(&mut self, token: Arc<str>, application: &str) {
        self.by_token.push((token, application.into()));
    }

    /// Only these applications write a topic.
    pub fn set_writers(&mut self, topic: &str, applications: &[String]) {
        self.writers.insert(topic.to_owned(), applications.iter().cloned().collect());
    }

    /// A topic is derived by a view, and nobody else writes it.
    pub fn set_derived(&mut self, topic: &str, view: &str) {
        self.derived.insert(topic.to_owned(), view.to_owned());
    }

    /// Who shows a token; none if it is nobody's.
    pub(super) fn by_token(&self, shown: &[u8]) -> Option<Caller> {
        let mut found = None;
        // All are compared, so that the time tells nothing.
        for (token, application) in &self.by_token {
            if equal(shown, token.as_bytes()) {
                found = Some(Caller { application: Some(application.clone()), is_guest: true });
            }
        }
        found
    }

    /// Who runs as a user. Others than root and the node's own are guests.
    pub(super) fn by_user(&self, user: Option<u32>) -> Caller {
        let application = user.and_then(|user| self.by_user.get(&user)).cloned();
        let own = [0, rustix::process::getuid().as_raw()];
        let is_guest = user.is_some_and(|user| !own.contains(&user));
        Caller { application, is_guest }
    }

    /// Whether somebody may write a topic.
    ///
    /// # Errors
    /// It is for other applications, or for a view.
    pub(super) fn may_write(&self, caller: &Caller, topic: &str) -> Result<(), ApiError> {
        if let Some(view) = self.derived.get(topic) {
            let text =
                format!("`{topic}` is derived by the view `{view}`, and nobody else writes it");
            let hint = "write to a topic that the view follows, or to another one";
            return Err(ApiError::new(ErrorCode::Forbidden, text).with_hint(hint));
        }
        let Some(writers) = self.writers.get(topic) else { return Ok(()) };
        let name = caller.application.as_deref();
        if name.is_some_and(|name| writers.contains(name)) {
            return Ok(());
        }
        let who = name.map_or("a program that is no application".to_owned(), |name| {
            format!("the application `{name}`")
        });
        let writers: Vec<_> = writers.iter().map(String::as_str).collect();
        let text =
            format!("{who} may not write to `{topic}`; its writers are {}", writers.join(", "));
        let hint = "show the token of one of them, or change `writers` of the topic";
        Err(ApiError::new(ErrorCode::Forbidden, text).with_hint(hint))
    }
}

impl Caller {
    /// Whether it may do what an operator does.
    ///
    /// # Errors
    /// It is a guest.
    pub(super) fn may_operate(&self) -> Result<(), ApiError> {
        if !self.is_guest {
            return Ok(());
        }
        Err(ApiError::new(ErrorCode::Forbidden, "this is for operators")
            .with_hint("ask as the node's user without a token, or with that of `api.token_file`"))
    }
}

/// Compares in a time that depends on the lengths alone.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |all, (a, b)| all | (a ^ b));
    left.len() == right.len() && differing == 0
}
