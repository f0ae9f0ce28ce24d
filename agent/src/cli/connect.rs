//! Finding the node that a command speaks of.

use std::io::ErrorKind;
use std::path::Path;

use tokio::net::UnixStream;

use super::{DataOptions, Failure};
use crate::api::{Client, Target};
use crate::config::Config;

/// A client of the node that runs on the data directory, or `None` if none runs there, so that the
/// directory can be opened here.
///
/// # Errors
/// When the configuration is wrong or the socket cannot be used, such as that of another user.
pub async fn running_node(
    options: &DataOptions,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Option<Client>, Failure> {
    let config = Config::load(options.config.as_deref(), &options.data, environment)?;
    let socket = config.socket(&options.data);
    match UnixStream::connect(&socket).await {
        Ok(_) => Ok(Some(Client::new(Target::Unix(socket)))),
        Err(error) if is_absent(error.kind()) => Ok(None),
        Err(error) => Err(unusable(&socket, &error)),
    }
}

/// No socket, or one that a killed node left.
fn is_absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}

fn unusable(socket: &Path, error: &std::io::Error) -> Failure {
    Failure::refused(format!(
        "cannot use the node's socket {}: {error}; run as the node's user",
        socket.display()
    ))
}
