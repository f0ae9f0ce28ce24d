//! A real Kafka broker for a test: Apache Kafka, as `cargo xtask kafka` starts it, in a folder of
//! its own. It ends with the value that stands for it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use landfall::config::KAFKA_TLS;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Command;

use crate::injection::skipped;
use crate::process::until;

/// The variable that asks for real brokers. Its name is none of the program's, which refuses those
/// that it does not know, and is started by tests with what they were started with.
const ASKED_FOR: &str = "TEST_KAFKA";
/// How long a broker may take to start, on a machine that does much else.
const START_MAX: Duration = Duration::from_secs(120);

/// What Java is told for a broker that lives for a minute or two: to optimise it takes more than it
/// brings.
const BRIEFLY: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// A running broker, or one that was killed.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    address: SocketAddr,
    proxied: Option<SocketAddr>,
    guarded: Option<Guarded>,
    pid: Pid,
    java: &'static [&'static str],
}

/// How somebody is let in by a broker that asks for rights, and what it is to trust.
#[derive(Clone, Debug)]
pub struct Guarded {
    /// Where it listens without TLS, with SASL.
    pub plain: SocketAddr,
    /// Where it listens with TLS and SASL.
    pub tls: SocketAddr,
    /// The certificate of those that are trusted.
    pub certificate: PathBuf,
    /// The one user, who may do nothing until rules say so.
    pub user: String,
    /// Its password, by PLAIN and by SCRAM.
    pub password: String,
}

/// Whether brokers are asked for, and there are Java and Maven. If not, says so loudly: the test is
/// then skipped.
pub fn is_possible(test: &str) -> bool {
    if std::env::var_os(ASKED_FOR).is_none() {
        skipped(test, &format!("{ASKED_FOR} is not set, which asks for real brokers"));
        return false;
    }
    let missing = ["java", "mvn"].into_iter().find(|program| {
        let mut ask = std::process::Command::new(program);
        let status = ask.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !status.is_ok_and(|status| status.success())
    });
    if let Some(program) = missing {
        skipped(test, &format!("{program} is not installed, which Apache Kafka needs"));
    }
    missing.is_none()
}

/// Whether the programs speak TLS to Kafka: they have the features of these tests. If not, says so
/// loudly: the test is then skipped.
pub fn has_tls(test: &str) -> bool {
    if !KAFKA_TLS {
        skipped(test, "the programs lack the feature `kafka_tls`: no libssl-dev, or no pkg-config");
    }
    KAFKA_TLS
}

impl Broker {
    /// Starts a broker in the folder `kafka` of a folder.
    ///
    /// # Errors
    /// It does not start; with what the task said.
    pub async fn start(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, &[]).await
    }

    /// The same, by Java as it is for programs that run long.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_for_long(folder: &Path) -> io::Result<Self> {
        Self::start_as(folder, &[], &[]).await
    }

    /// The same as the first, with a second listener whose clients are told to come to a proxy.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_behind(folder: &Path, proxy: SocketAddr) -> io::Result<Self> {
        Self::start_with(folder, &["--proxy", &proxy.port().to_string()]).await
    }

    /// The same, which also asks who somebody is, and what they may, at listeners of their own.
    /// Who comes to its first one may do all.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_guarded(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, &["--rights"]).await
    }

    /// The same, which forgets after some seconds who does not write.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_forgetful(folder: &Path, seconds: u16) -> io::Result<Self> {
        Self::start_with(folder, &["--forget", &seconds.to_string()]).await
    }

    async fn start_with(folder: &Path, words: &[&str]) -> io::Result<Self> {
        Self::start_as(folder, words, &BRIEFLY).await
    }

    async fn start_as(
        folder: &Path,
        words: &[&str],
        java: &'static [&'static str],
    ) -> io::Result<Self> {
        let folder = folder.join("kafka");
        let Up { address, proxied, guarded, pid } = up(&folder, words, java).await?;
        Ok(Self { folder, address, proxied, guarded, pid, java })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the proxy that it was started behind is to lead.
    pub fn proxied(&self) -> Option<SocketAddr> {
        self.proxied
    }

    /// How somebody is let in, if it asks for rights.
    pub fn guarded(&self) -> Option<&Guarded> {
        self.guarded.as_ref()
    }

    /// What a hub is to be told that shall find it at an address: to commit often, and to give up
    /// soon.
    pub fn settings_at(&self, address: SocketAddr) -> String {
        format!(
            "[kafka]\nbrokers = [\"{address}\"]\ncommit_every = \"20ms\"\n\
             transaction_timeout = \"4s\"\n"
        )
    }

    /// Makes a topic with these settings.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn make_topic(
        &self,
        topic: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> io::Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
        let made = self.admin()?.create_topics(&[new], &AdminOptions::new()).await;
        let made = made.map_err(io::Error::other)?;
        made.into_iter()
            .try_for_each(|made| made.map(|_| ()))
            .map_err(|(topic, code)| io::Error::other(format!("topic {topic} is not made: {code}")))
    }

    /// Deletes a topic, as an operator might by mistake.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn delete_topic(&self, topic: &str) -> io::Result<()> {
        let gone = self.admin()?.delete_topics(&[topic], &AdminOptions::new()).await;
        let gone = gone.map_err(io::Error::other)?;
        gone.into_iter().try_for_each(|gone| gone.map(|_| ())).map_err(|(topic, code)| {
            io::Error::other(format!("topic {topic} is not deleted: {code}"))
        })
    }

    /// Deletes the first records of a topic, as retention does: of each partition, all but what is
    /// at its last `keep` offsets.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn delete_records(&self, topic: &str, partitions: i32, keep: i64) -> io::Result<()> {
        let (admin, mut ends) = (self.admin()?, TopicPartitionList::new());
        for partition in 0..partitions {
            let marks = admin.inner().fetch_watermarks(topic, partition, START_MAX);
            let (first, end) = marks.map_err(io::Error::other)?;
            let cut = Offset::Offset(first.max(end - keep));
            ends.add_partition_offset(topic, partition, cut).map_err(io::Error::other)?;
        }
        let deleted = admin.delete_records(&ends, &AdminOptions::new()).await;
        deleted.map(|_| ()).map_err(io::Error::other)
    }

    /// Writes a record without headers, as any of Kafka's producers might.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn write(&self, topic: &str, value: &str) -> io::Result<()> {
        let producer: BaseProducer = self.client().create().map_err(io::Error::other)?;
        let sent = producer.send(BaseRecord::<(), _>::to(topic).payload(value));
        sent.map_err(|(error, _)| io::Error::other(error))?;
        producer.flush(START_MAX).map_err(io::Error::other)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address.to_string());
        config
    }

    fn admin(&self) -> io::Result<AdminClient<DefaultClientContext>> {
        self.client().create().map_err(io::Error::other)
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn kill(&self) -> io::Result<()> {
        kill_process(self.pid, Signal::KILL)?;
        let pid = self.pid;
        let gone =
            until("the broker is gone", async || test_kill_process(pid).is_err().then_some(()));
        gone.await.map_err(io::Error::other)
    }

    /// Starts it again with what it has, at the same address.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.pid = up(&self.folder, &[], self.java).await?.pid;
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// What the task says of a broker that it started.
struct Up {
    address: SocketAddr,
    proxied: Option<SocketAddr>,
    guarded: Option<Guarded>,
    pid: Pid,
}

/// What the task says of a broker that asks for rights.
fn guarded(said: &str) -> Option<Guarded> {
    let told = |words| said.lines().find_map(|line| line.strip_prefix(words));
    let (user, password) = told("its user is ")?.split_once(" with the password ")?;
    Some(Guarded {
        plain: told("SASL_PLAINTEXT listens at ")?.parse().ok()?,
        tls: told("SASL_SSL listens at ")?.parse().ok()?,
        certificate: told("its certificate is ")?.into(),
        user: user.into(),
        password: password.into(),
    })
}

/// Runs the task that starts a broker.
async fn up(folder: &Path, words: &[&str], java: &[&str]) -> io::Result<Up> {
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("xtask"));
    let task = beside.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        let text = format!("no xtask beside {}; `cargo build -p xtask` first", own.display());
        io::Error::new(io::ErrorKind::NotFound, text)
    })?;
    let mut command = Command::new(task);
    command.args(["kafka", "up", "--port", "0", "--dir"]).arg(folder).args(words);
    command.env("JDK_JAVA_OPTIONS", java.join(" "));
    let output = tokio::time::timeout(START_MAX, command.kill_on_drop(true).output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    let told = said.lines().find_map(|line| {
        let (_, rest) = line.split_once(" runs at ")?;
        let (address, pid) = rest.split_once(", process ")?;
        Some((address.parse().ok()?, Pid::from_raw(pid.parse().ok()?)?))
    });
    let proxied = said.lines().find_map(|line| line.strip_prefix("the proxy leads to "));
    let proxied = proxied.and_then(|address| address.parse().ok());
    match told {
        Some((address, pid)) => Ok(Up { address, proxied, guarded: guarded(&said), pid }),
        None => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("no broker was started: {said}{errors}")))
        }
    }
}
