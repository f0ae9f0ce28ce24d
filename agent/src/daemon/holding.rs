//! Tells the node where its views are, so that the log waits for them.

use std::time::Duration;

use tokio::sync::watch;

use super::consumers::place;
use super::handle::Handle;
use crate::node::ViewPlace;
use crate::node::consumer::Place;
use crate::views::Board;
use crate::views::definition::Definition;

/// How often at most the places of views are told: the log looks for what is old less often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells where the wanted views are, until the node or its views have stopped. A view of which that
/// is not known yet may lack whatever there is.
pub(super) async fn tell(
    handle: Handle,
    wanted: Vec<Definition>,
    mut board: watch::Receiver<Board>,
) {
    let anywhere = wanted.into_iter().map(|view| {
        let topics = view.topics();
        ViewPlace { view: view.name, topics, at: Place::default(), told: false }
    });
    let mut places: Option<Vec<_>> = Some(anywhere.collect());
    loop {
        if let Some(places) = places.take()
            && !handle.tell_views(places).await
        {
            return;
        }
        tokio::time::sleep(TELL_EVERY).await;
        if board.changed().await.is_err() {
            return;
        }
        places = board.borrow_and_update().standing.as_ref().map(|standing| {
            let each = standing.iter().map(|view| ViewPlace {
                view: view.name.clone(),
                topics: view.topics.clone(),
                at: view.cursor.map(place).unwrap_or_default(),
                told: view.is_read,
            });
            each.collect()
        });
    }
}
