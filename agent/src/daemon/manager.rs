//! What the service manager that started this process is told: that the node runs, that it still
//! does, and that it stops.
//!
//! The protocol is the one of `sd_notify(3)`: a datagram of lines such as `READY=1` to the socket
//! that a variable names. Where no variable does, nobody is told anything.

use std::ffi::OsString;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::handle::Handle;
use crate::api::Backend as _;

/// A service manager that wants to be told.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How long it may hear nothing before it ends this process.
    patience: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names to the process of this number.
    #[must_use]
    pub fn find(environment: &dyn Fn(&str) -> Option<OsString>, process: u32) -> Option<Self> {
        let address = address(&environment("NOTIFY_SOCKET")?)?;
        let socket = UnixDatagram::unbound().ok()?;
        // A manager that does not read must not stop the node.
        socket.set_nonblocking(true).ok()?;
        let number = |name| environment(name)?.to_str()?.parse::<u64>().ok();
        let patience = number("WATCHDOG_USEC").filter(|us| *us > 0).map(Duration::from_micros);
        let another = number("WATCHDOG_PID").is_some_and(|meant| meant != u64::from(process));
        Some(Self { socket, address, patience: patience.filter(|_| !another) })
    }

    /// Tells that it stops now.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Tells that the node runs, and goes on to tell so for as long as its thread answers; never
    /// ends.
    pub(super) async fn watch(&self, handle: &Handle) {
        self.tell("READY=1");
        let Some(patience) = self.patience else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(patience / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // The answer comes from the node's thread, and after what waited there before.
            if handle.status().await.is_ok() {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, line: &str) {
        if let Err(error) = self.socket.send_to_addr(line.as_bytes(), &self.address) {
            tracing::warn!(%error, line, "the service manager can't be told");
        }
    }
}

/// A path, or a name behind an `@` that is in no folder.
fn address(name: &OsString) -> Option<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_encoded_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name).ok();
    }
    SocketAddr::from_pathname(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<ServiceManager> {
        let value = |name: &str| {
            let variable = variables.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| OsString::from(value))
        };
        ServiceManager::find(&value, 7)
    }

    #[test]
    fn who_is_not_asked_to_tell_tells_nobody() {
        assert!(found(&[]).is_none());
        assert!(found(&[("WATCHDOG_USEC", "5000000")]).is_none());
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let patience = |variables: &[(&str, &str)]| {
            let named = [&[("NOTIFY_SOCKET", "/run/manager")], variables].concat();
            found(&named).expect("a manager").patience
        };
        let five = Some(Duration::from_secs(5));
        assert_eq!(patience(&[]), None);
        assert_eq!(patience(&[("WATCHDOG_USEC", "5000000")]), five);
        assert_eq!(patience(&[("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "7")]), five);
        assert_eq!(patience(&[("WATCHDOG_USEC", "5000000"), ("WATCHDOG_PID", "8")]), None);
        assert_eq!(patience(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(patience(&[("WATCHDOG_USEC", "soon")]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_whose_thread_does_not_answer_is_not_said_to_live() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manager");
        let heard = UnixDatagram::bind(&path).unwrap();
        heard.set_nonblocking(true).unwrap();
        let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000")];
        let manager = found(&variables).unwrap();
        let (inputs, _taken) = tokio::sync::mpsc::channel(1);
        let (_committed, commits) = tokio::sync::watch::channel(0);
        let handle = Handle::new(inputs, commits, Default::default(), 1);
        let watched = tokio::time::timeout(Duration::from_secs(60), manager.watch(&handle)).await;
        assert!(watched.is_err(), "it never ends");
        let mut line = [0; 32];
        let bytes = heard.recv(&mut line).unwrap();
        assert_eq!(&line[..bytes], b"READY=1");
        assert!(heard.recv(&mut line).is_err(), "nothing more is told");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_may_have_a_name_that_is_in_no_folder() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("landfall-manager-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let heard = UnixDatagram::bind_addr(&address).unwrap();
        found(&[("NOTIFY_SOCKET", &format!("@{name}"))]).unwrap().stopping();
        let mut line = [0; 32];
        let bytes = heard.recv(&mut line).unwrap();
        assert_eq!(&line[..bytes], b"STOPPING=1");
    }
}
