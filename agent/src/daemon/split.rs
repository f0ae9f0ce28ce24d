//! Making a copy of a node a site of its own: a new name and a new key, over the same journal.
//!
//! What the copy has written so far stays what it is, records of the site it was copied from; the
//! token lets it bring the rest of them. What it appends from now on is its own.

use std::fs;
use std::path::Path;

use super::open::{SITE_FILE, StartError, TOKEN_FILE};
use crate::entropy;
use crate::identity::NodeKey;
use crate::media::DirLock;
use crate::whole_file::write_whole;

/// Gives the node in `data` the name `site`, a new key, and the token to enrol with. Killed in
/// between, it is neither the one nor the other, and can be repeated.
///
/// # Errors
/// See [`StartError`]; above all, when there is no node or it runs.
pub fn split(data: &Path, site: &str, token: &str) -> Result<NodeKey, StartError> {
    let path = data.join(SITE_FILE);
    let Ok(old) = fs::read_to_string(&path) else { return Err(StartError::NoNode(data.into())) };
    if old.trim() == site {
        return Err(StartError::SameSite(data.into(), site.into()));
    }
    let _lock = DirLock::take(data).map_err(StartError::Media)?;
    let mut seed = [0; 32];
    entropy::fill(&mut seed).map_err(StartError::Entropy)?;
    replace(data, TOKEN_FILE, token, 0o600)?;
    let key = NodeKey::replace(data, seed).map_err(StartError::Key)?;
    // The name comes last: with the old name, the new key is let in nowhere.
    replace(data, SITE_FILE, site, 0o644)?;
    Ok(key)
}

fn replace(data: &Path, name: &str, text: &str, mode: u32) -> Result<(), StartError> {
    let path = data.join(name);
    write_whole(&path, text.as_bytes(), mode).map_err(|error| StartError::File(path, error))
}
