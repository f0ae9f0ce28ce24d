//! What a check that did not hold says, without ending the program.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

/// A panic.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Caught {
    /// What it says.
    pub text: String,
    /// The line of code that it stands in.
    pub place: String,
}

thread_local! {
    static LAST: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// Does something, and prints nothing if it panics.
///
/// # Errors
/// The panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "a panic without words".to_owned());
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        LAST.set(Some(Caught { text, place }));
    }));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    outcome.map_err(|_| LAST.take().unwrap_or_default())
}
