//! A broker that asks who somebody is, and what they may: listeners with SASL, without TLS and with
//! it, and Kafka's own authoriser, which lets nobody do what no rule allows.
//!
//! Who comes to the listener without either may do all: that is whoever started the broker.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::shell::{self, Failure};

/// Who may come, with a password, by each mechanism. It may do nothing until rules say so.
pub(super) const USER: &str = "hub";
pub(super) const PASSWORD: &str = "sesame-of-the-tests";

/// The listeners, and the ways to say who one is.
const LISTENERS: [&str; 2] = ["SASL_PLAINTEXT", "SASL_SSL"];
const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];
/// It keeps nothing secret: the key is on this machine, and made for loopback.
const STORE_PASSWORD: &str = "changeit";
/// What clients are to trust, in the broker's folder; and its key.
pub(super) const CERTIFICATE: &str = "certificate.pem";
const STORE: &str = "key.p12";

/// The ports of the listeners, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct RightsPorts(pub(super) [u16; 2]);

impl RightsPorts {
    /// The listeners, to follow others.
    pub(super) fn listeners(self) -> String {
        let mut text = String::new();
        for (name, port) in LISTENERS.iter().zip(self.0) {
            let _ = write!(text, ",{name}://127.0.0.1:{port}");
        }
        text
    }
}

/// Names of the listeners with SASL.
pub(super) fn names() -> [&'static str; 2] {
    LISTENERS
}

/// What the broker's settings say besides.
pub(super) fn properties(folder: &Path) -> String {
    let mechanisms = ["PLAIN", SCRAM[0], SCRAM[1]].join(",");
    let mut text = format!(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         super.users=User:ANONYMOUS\n\
         sasl.enabled.mechanisms={mechanisms}\n\
         ssl.keystore.type=PKCS12\n\
         ssl.keystore.location={}\n\
         ssl.keystore.password={STORE_PASSWORD}\n",
        folder.join(STORE).display()
    );
    let modules = "org.apache.kafka.common.security";
    for listener in LISTENERS.map(str::to_lowercase) {
        let own = format!("listener.name.{listener}");
        let _ = writeln!(
            text,
            "{own}.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required \
             user_{USER}=\"{PASSWORD}\";"
        );
        for mechanism in SCRAM.map(str::to_lowercase) {
            let _ = writeln!(
                text,
                "{own}.{mechanism}.sasl.jaas.config={modules}.scram.ScramLoginModule required;"
            );
        }
    }
    text
}

/// Words for the formatter: the passwords that SCRAM knows are in the cluster's metadata.
pub(super) fn formatting() -> Vec<String> {
    let user = |mechanism| {
        ["--add-scram".into(), format!("{mechanism}=[name={USER},password={PASSWORD}]")]
    };
    SCRAM.into_iter().flat_map(user).collect()
}

/// Makes the broker's key, and the certificate that clients are to trust.
pub(super) fn make_certificate(folder: &Path) -> Result<(), Failure> {
    let store = folder.join(STORE);
    let keytool = |verb: &str| {
        let mut keytool = Command::new("keytool");
        keytool.args([verb, "-alias", "kafka", "-storepass", STORE_PASSWORD, "-keystore"]);
        keytool.arg(&store);
        keytool
    };
    let mut make = keytool("-genkeypair");
    make.args(["-keyalg", "EC", "-dname", "CN=localhost", "-validity", "3650"]);
    make.args(["-ext", "san=ip:127.0.0.1,dns:localhost", "-storetype", "PKCS12"]);
    shell::output(&mut make)?;
    let mut export = keytool("-exportcert");
    export.arg("-rfc").arg("-file").arg(folder.join(CERTIFICATE));
    shell::output(&mut export).map(|_| ())
}
