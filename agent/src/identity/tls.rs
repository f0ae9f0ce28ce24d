//! TLS of both ends: version 1.3 only, both sides authenticated by raw public keys (RFC 7250).
//!
//! There is no certificate: what would be in it (names, dates, an issuer) is what this design does
//! not trust. A verifier proves one thing, that the peer holds the private half of the key it
//! shows. A dialer also pins the hub's keys; a hub accepts any key here and asks its registry after
//! the handshake. Sessions are never resumed and nothing is sent before the handshake is over, so
//! that the registry is asked every time.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerMisbehaved, ServerConfig, SignatureScheme, version,
};

use super::key::{NodeKey, PublicKey};

/// The protocol's name in the handshake; its last part is the version of the wire format.
pub const ALPN: &[u8] = b"landfall/0";

/// The name a dialer sends; it means nothing, since hubs are known by key.
pub const SERVER_NAME: &str = "landfall";

/// The keys by which a dialer knows its hub. At least one must be pinned for any handshake to
/// succeed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HubKeys(pub Vec<PublicKey>);

impl fmt::Display for HubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " or " };
            write!(f, "{separator}{key}")?;
        }
        Ok(())
    }
}

/// Where a handshake leaves the key that a refused hub showed, since an error travels through QUIC
/// only as text.
pub type RefusedKey = Arc<OnceLock<PublicKey>>;

/// What a dialer uses for one attempt.
///
/// # Errors
/// Only if the crypto provider lacks TLS 1.3, which a build would have to break.
pub fn client_config(
    key: &NodeKey,
    pinned: HubKeys,
    refused: RefusedKey,
) -> Result<ClientConfig, Error> {
    let verifier = PinnedHub { pinned, refused };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(
            key,
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// What a hub uses for all handshakes.
///
/// # Errors
/// Only if the crypto provider lacks TLS 1.3, which a build would have to break.
pub fn server_config(key: &NodeKey) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyDevice))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(key))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The key that the peer proved to hold, from what the handshake left behind.
#[must_use]
pub fn peer_key(shown: &[CertificateDer<'_>]) -> Option<PublicKey> {
    match shown {
        [key] => PublicKey::from_public_key_info(key),
        _ => None,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certified(key: &NodeKey) -> Arc<CertifiedKey> {
    let shown = CertificateDer::from(key.public().to_public_key_info());
    Arc::new(CertifiedKey::new(vec![shown], key.signing()))
}

/// The dialer's verifier: one of the pinned keys, and no other.
#[derive(Debug)]
struct PinnedHub {
    pinned: HubKeys,
    refused: RefusedKey,
}

impl ServerCertVerifier for PinnedHub {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = shown_key(end_entity)?;
        if self.pinned.0.contains(&shown) {
            return Ok(ServerCertVerified::assertion());
        }
        // The first refusal is what the operator needs to see.
        let _ = self.refused.set(shown);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The hub's verifier: any Ed25519 key that the peer really holds. Whose it is, the registry knows.
#[derive(Debug)]
struct AnyDevice;

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        shown_key(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(tls12_refused())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

fn shown_key(shown: &CertificateDer<'_>) -> Result<PublicKey, Error> {
    PublicKey::from_public_key_info(shown)
        .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verify_signature(
    message: &[u8],
    shown: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = shown_key(shown)?;
    if dss.scheme != SignatureScheme::ED25519 {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    if !key.verifies(message, dss.signature()) {
        return Err(Error::InvalidCertificate(CertificateError::BadSignature));
    }
    Ok(HandshakeSignatureValid::assertion())
}

fn tls12_refused() -> Error {
    Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, ServerConnection};

    /// Runs a handshake in memory; what each end says about it.
    fn handshake(
        client: ClientConfig,
        server: ServerConfig,
    ) -> Result<(ClientConnection, ServerConnection), Error> {
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok((client, server))
    }

    fn keys() -> (NodeKey, NodeKey) {
        (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]))
    }

    fn dialer(key: &NodeKey, pinned: &[PublicKey]) -> (ClientConfig, RefusedKey) {
        let refused = RefusedKey::default();
        let pinned = HubKeys(pinned.to_vec());
        (client_config(key, pinned, refused.clone()).unwrap(), refused)
    }

    #[test]
    fn both_ends_learn_the_key_of_the_other() {
        let (device, hub) = keys();
        let retired = NodeKey::from_seed([3; 32]).public();
        let (config, _) = dialer(&device, &[retired, hub.public()]);
        let (client, server) = handshake(config, server_config(&hub).unwrap()).unwrap();
        assert_eq!(peer_key(client.peer_certificates().unwrap()), Some(hub.public()));
        assert_eq!(peer_key(server.peer_certificates().unwrap()), Some(device.public()));
        assert_eq!(client.alpn_protocol(), Some(ALPN));
    }

    #[test]
    fn a_hub_with_another_key_is_refused_and_its_key_is_told() {
        let (device, hub) = keys();
        let (config, refused) = dialer(&device, &[device.public()]);
        handshake(config, server_config(&hub).unwrap()).unwrap_err();
        assert_eq!(refused.get(), Some(&hub.public()));
    }

    #[test]
    fn without_a_pinned_key_no_hub_is_trusted() {
        let (device, hub) = keys();
        let (config, _) = dialer(&device, &[]);
        handshake(config, server_config(&hub).unwrap()).unwrap_err();
    }

    #[test]
    fn showing_a_key_without_holding_it_does_not_help() {
        let (device, hub) = keys();
        let thief = NodeKey::from_seed([3; 32]);
        let (mut config, _) = dialer(&device, &[hub.public()]);
        let shown = CertificateDer::from(device.public().to_public_key_info());
        let stolen = CertifiedKey::new(vec![shown], thief.signing());
        config.client_auth_cert_resolver =
            Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(stolen)));
        let fault = handshake(config, server_config(&hub).unwrap()).unwrap_err();
        assert_eq!(fault, Error::InvalidCertificate(CertificateError::BadSignature));
    }

    #[test]
    fn a_dialer_that_shows_no_key_is_refused() {
        let (_, hub) = keys();
        let verifier =
            PinnedHub { pinned: HubKeys(vec![hub.public()]), refused: RefusedKey::default() };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        handshake(config, server_config(&hub).unwrap()).unwrap_err();
    }
}
