//! Tells the node where its views are, so that the log waits for them.

use std::time::Duration;

use tokio::sync::watch;

use super::consumers::place;
use super::handle::Handle;
use crate::node::ViewPlace;
use crate::node::consumer::Place;
use crate::views::definition::Definition;
use crate::views::{Board, Standing};

/// How often at most the places of views are told: the log looks for what is old less often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Tells where the wanted views are, until the node or its views have stopped: first as soon as
/// that is known. A view of which it is not known yet may lack whatever there is; the node
/// remembers what it forgets meanwhile.
pub(super) async fn tell(
    handle: Handle,
    wanted: Vec<Definition>,
    mut board: watch::Receiver<Board>,
) {
    let anywhere = wanted.into_iter().map(|view| {
        let topics = view.topics();
        let (at, told, stands, lacks) = (Place::default(), false, false, 0);
        ViewPlace { view: view.name, topics, at, told, stands, lacks }
    });
    let mut places: Option<Vec<_>> = Some(anywhere.collect());
    let mut every = Duration::ZERO;
    loop {
        if let Some(places) = places.take()
            && !handle.tell_views(places).await
        {
            return;
        }
        tokio::time::sleep(every).await;
        if board.changed().await.is_err() {
            return;
        }
        let standing = board.borrow_and_update().standing.clone();
        if let Some(standing) = standing {
            places = Some(standing.into_iter().map(view_place).collect());
            every = TELL_EVERY;
        }
    }
}

fn view_place(view: Standing) -> ViewPlace {
    // Rows that are to begin with what there is miss nothing of what went before.
    let told = view.is_read && (view.cursor.is_some() || view.stands);
    let at = view.cursor.map(place).unwrap_or_default();
    let Standing { name: view, topics, stands, lacks, .. } = view;
    ViewPlace { view, topics, at, told, stands, lacks }
}
