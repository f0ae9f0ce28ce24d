//! One broker that is its own controller, on loopback, with all its files in one folder.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::jars;
use super::rights::{self, RightsPorts};
use crate::shell::{self, Failure};
use crate::stopwatch::Stopwatch;

/// The port for clients unless the user chooses.
const PORT: u16 = 9092;
/// How long a broker may take until it answers. A busy machine needs a multiple of the usual 3 s.
const START_MAX: Duration = Duration::from_secs(90);
/// How long it may take to end when it is asked to; it is killed then.
const STOP_MAX: Duration = Duration::from_secs(90);
/// Between two questions whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The cluster, in base64: each broker is one of its own, and none meets another.
const CLUSTER: &str = "LandfallTestsKafkaOnly";

/// ApiVersions, version 0: length 10, api key 18, version 0, correlation 1, no client id.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF];

/// What a broker is to be, where that is not as usual.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// The port for clients, if the user chose; zero stands for any.
    pub(crate) port: Option<u16>,
    /// The port of a proxy that clients come through, if there is one.
    pub(crate) proxy: Option<u16>,
    /// Whether it asks who somebody is, and what they may.
    pub(crate) rights: bool,
    /// After how many seconds it forgets who does not write.
    pub(crate) forget: Option<u16>,
}

/// A broker and the folder of its files.
pub(crate) struct Broker {
    folder: PathBuf,
}

impl Broker {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the broker prints and logs.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("broker.log")
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        self.listener("PLAINTEXT://")?.ok_or_else(|| {
            Failure::Check(format!("{} names no listener", self.properties().display()))
        })
    }

    /// Where a proxy is to lead that clients come through, if they do.
    pub(crate) fn proxied(&self) -> Result<Option<SocketAddr>, Failure> {
        self.listener("PROXIED://")
    }

    /// Where clients say who they are, with the names of these listeners.
    pub(crate) fn guarded(&self) -> Result<Vec<(&'static str, SocketAddr)>, Failure> {
        let mut guarded = Vec::new();
        for name in rights::names() {
            let found = self.listener(&format!(",{name}://"))?;
            guarded.extend(found.map(|address| (name, address)));
        }
        Ok(guarded)
    }

    /// The certificate that clients are to trust, if it asks for rights.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join(rights::CERTIFICATE)
    }

    fn listener(&self, name: &str) -> Result<Option<SocketAddr>, Failure> {
        let settings = shell::read(&self.properties())?;
        Ok(settings.split_once(name).and_then(|(_, rest)| {
            let end = rest.find([',', '\n'])?;
            rest.get(..end)?.parse().ok()
        }))
    }

    /// Its process, if it runs. A number that another process has by now is not taken for it.
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let mut ps = Command::new("ps");
        let printed =
            ps.args(["-ww", "-o", "stat=,args=", "-p", &pid.to_string()]).output().ok()?;
        let line = String::from_utf8_lossy(&printed.stdout).into_owned();
        let ours = line.contains(&*self.properties().to_string_lossy());
        (ours && !line.trim_start().starts_with('Z')).then_some(pid)
    }

    /// Whether it answers a question of Kafka's protocol.
    pub(crate) fn answers(&self) -> bool {
        self.address().is_ok_and(|address| ask(address).is_ok())
    }

    /// Writes its settings and formats its storage, unless an earlier start has.
    pub(crate) fn prepare(&self, jars: &Path, wanted: Wanted) -> Result<(), Failure> {
        let Wanted { port, proxy, rights, forget } = wanted;
        let cannot = |error| self.cannot(&error);
        // The last file that formatting writes.
        if self.data().join("meta.properties").is_file() {
            let known = self.address()?;
            if port.is_some_and(|port| port != 0 && port != known.port()) {
                return Err(Failure::Usage(format!(
                    "the broker in {} was made for port {}; remove the folder first",
                    self.folder.display(),
                    known.port()
                )));
            }
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(cannot)?;
        // Held until all are known, so that they differ.
        let held = [free(port.unwrap_or(PORT))?, free(0)?, free(0)?, free(0)?, free(0)?];
        let [clients, controller, proxied, plain, tls] = held.each_ref().map(port_of);
        let proxy = proxy.map(|proxy| proxied.map(|proxied| (proxied, proxy))).transpose()?;
        let guarded = rights.then_some(RightsPorts([plain?, tls?]));
        let ports = Ports { clients: clients?, controller: controller?, proxy, guarded };
        drop(held);
        let mut settings = properties(&self.data(), ports);
        if rights {
            rights::make_certificate(&self.folder)?;
            settings += &rights::properties(&self.folder);
        }
        if let Some(seconds) = forget {
            settings += &forgetting(seconds);
        }
        fs::write(self.properties(), settings).map_err(cannot)?;
        fs::write(self.log4j(), LOG4J).map_err(cannot)?;
        let mut format = jars::java(jars, &self.log4j());
        format.arg("kafka.tools.StorageTool");
        format.args(["format", "--standalone", "--cluster-id", CLUSTER, "--config"]);
        format.arg(self.properties());
        if rights {
            format.args(rights::formatting());
        }
        shell::output(&mut format).map(|_| ())
    }

    /// Starts it and waits until it answers. It outlives this program. What it has loaded until it
    /// is stopped is kept in `classes`, if that is said.
    pub(crate) fn start(&self, jars: &Path, classes: Option<&Path>) -> Result<u32, Failure> {
        let cannot = |error| self.cannot(&error);
        let address = self.address()?;
        // Whoever answers there must be the one that is started.
        drop(free(address.port())?);
        let log = fs::File::create(self.log()).map_err(cannot)?;
        let mut java = jars::java(jars, &self.log4j());
        if let Some(classes) = classes {
            java.arg(format!("-XX:ArchiveClassesAtExit={}", classes.display()));
        }
        java.args(["-Xmx512m", "kafka.Kafka"]).arg(self.properties()).current_dir(&self.folder);
        java.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
        // Ctrl-C at this program's terminal is not meant for it.
        java.process_group(0);
        let mut child = java.spawn().map_err(|error| shell::cannot_start(&java, &error))?;
        let pid = child.id();
        fs::write(self.pid_file(), pid.to_string()).map_err(cannot)?;
        let (tell, ended) = mpsc::sync_channel(1);
        std::thread::spawn(move || tell.send(child.wait()));
        let watch = Stopwatch::start();
        while watch.elapsed() < START_MAX {
            if ask(address).is_ok() {
                return Ok(pid);
            }
            if let Ok(status) = ended.recv_timeout(LOOK_EVERY) {
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                return Err(self.said(&format!("Kafka ended as it started ({status})")));
            }
        }
        let _ = self.stop();
        Err(self.said("Kafka did not answer within 90 s and was stopped"))
    }

    /// Ends it; kills it if it does not end by itself. Returns its process, if it ran.
    pub(crate) fn stop(&self) -> Result<Option<u32>, Failure> {
        let Some(pid) = self.pid() else { return Ok(None) };
        for signal in ["-TERM", "-KILL"] {
            shell::run(Command::new("kill").args([signal, &pid.to_string()]))?;
            let (_tell, never) = mpsc::sync_channel::<()>(1);
            let watch = Stopwatch::start();
            while watch.elapsed() < STOP_MAX {
                if self.pid().is_none() {
                    return Ok(Some(pid));
                }
                assert_eq!(never.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout));
            }
        }
        Err(Failure::Machine(format!("Kafka, process {pid}, can't be ended")))
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log4j(&self) -> PathBuf {
        self.folder.join("log4j2.properties")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pid")
    }

    fn cannot(&self, error: &std::io::Error) -> Failure {
        Failure::Machine(format!("cannot use {}: {error}", self.folder.display()))
    }

    /// What went wrong, and the end of what the broker said.
    fn said(&self, what: &str) -> Failure {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let end = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n");
        Failure::Machine(format!("{what}. The end of {}:\n{end}", self.log().display()))
    }
}

/// Asks which requests a broker knows; it can answer that once it serves.
fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, LOOK_EVERY)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&QUESTION)?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    match answer {
        [_, _, _, _, 0, 0, 0, 1, 0, 0] => Ok(()),
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// A listener on loopback, to see that a port is free, or to be given one.
fn free(port: u16) -> Result<TcpListener, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
        Failure::Machine(format!("port {port} can't be used: {error}; choose another with --port"))
    })
}

fn port_of(listener: &TcpListener) -> Result<u16, Failure> {
    let address = listener.local_addr();
    address.map(|address| address.port()).map_err(|error| Failure::Machine(error.to_string()))
}

/// The ports of a broker.
struct Ports {
    clients: u16,
    controller: u16,
    /// Where clients of a proxy arrive, and the proxy that they are told to come to.
    proxy: Option<(u16, u16)>,
    /// Where clients say who they are.
    guarded: Option<RightsPorts>,
}

fn properties(data: &Path, ports: Ports) -> String {
    let Ports { clients, controller, proxy, guarded } = ports;
    let own = format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}");
    let (mut listeners, mut advertised) = (own.clone(), own);
    if let Some((proxied, proxy)) = proxy {
        listeners += &format!(",PROXIED://127.0.0.1:{proxied}");
        advertised += &format!(",PROXIED://127.0.0.1:{proxy}");
    }
    let own = guarded.map(RightsPorts::listeners).unwrap_or_default();
    listeners += &own;
    advertised += &own;
    // One broker has no one to copy to, and few partitions start and recover fast. Tests wait for
    // what retention deletes.
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         listeners={listeners}\n\
         advertised.listeners={advertised}\n\
         inter.broker.listener.name=PLAINTEXT\n\
         controller.listener.names=CONTROLLER\n\
         listener.security.protocol.map=\
         CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,\
         SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL\n\
         log.dirs={}\n\
         auto.create.topics.enable=false\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         share.coordinator.state.topic.num.partitions=4\n\
         group.initial.rebalance.delay.ms=0\n\
         log.initial.task.delay.ms=1000\n\
         log.retention.check.interval.ms=1000\n",
        data.display()
    )
}

/// Settings by which a broker forgets transactional ids and producers that do not write.
fn forgetting(seconds: u16) -> String {
    let ms = u32::from(seconds) * 1_000;
    format!(
        "transactional.id.expiration.ms={ms}\n\
         transaction.remove.expired.transaction.cleanup.interval.ms=500\n\
         producer.id.expiration.ms={ms}\n\
         producer.id.expiration.check.interval.ms=500\n"
    )
}

const LOG4J: &str = "rootLogger.level = warn\n\
    rootLogger.appenderRef.console.ref = console\n\
    appender.console.type = Console\n\
    appender.console.name = console\n\
    appender.console.layout.type = PatternLayout\n\
    appender.console.layout.pattern = %d %p %c: %m%n\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_the_settings() {
        let broker = Broker::new(shell::target().join("kafka/of-a-test"));
        fs::create_dir_all(broker.folder()).unwrap();
        let guarded = Some(RightsPorts([4715, 4716]));
        let ports = Ports { clients: 4711, controller: 4712, proxy: Some((4713, 4714)), guarded };
        fs::write(broker.properties(), properties(&broker.data(), ports)).unwrap();
        assert_eq!(broker.address().unwrap(), ([127, 0, 0, 1], 4711).into());
        assert_eq!(broker.proxied().unwrap(), Some(([127, 0, 0, 1], 4713).into()));
        let guarded = broker.guarded().unwrap();
        let at = |port| ([127, 0, 0, 1], port).into();
        assert_eq!(guarded, [("SASL_PLAINTEXT", at(4715)), ("SASL_SSL", at(4716))]);
        fs::remove_dir_all(broker.folder()).unwrap();
    }

    #[test]
    fn a_process_with_the_number_of_an_earlier_broker_is_not_taken_for_it() {
        let broker = Broker::new(shell::target().join("kafka/of-another-test"));
        fs::create_dir_all(broker.folder()).unwrap();
        fs::write(broker.pid_file(), std::process::id().to_string()).unwrap();
        assert_eq!(broker.pid(), None);
        fs::remove_dir_all(broker.folder()).unwrap();
    }
}
