//! TLS between peers, with a certificate on either side.
//!
//! Who shows a certificate signed by the given authority belongs to the group; so the authority should sign for nobody else. What
//! name is in it does not matter, as in Redis: nodes change their addresses, and which node it is says the handshake.

use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WantsClientCert, verify_server_cert_signed_by_trust_anchor};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::net::Io;

/// The certificates in a PEM file. The error says which file and what is wrong.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(format!("{}: no certificate in it", path.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The key in a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// This node's certificate and key, and the authority of all nodes. Clones are one: what renews one renews all.
#[derive(Clone)]
pub struct Tls {
    ends: Arc<RwLock<Ends>>,
}

struct Ends {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl Tls {
    /// Reads PEM files. The error says which file and what is wrong.
    pub fn load(cert: &Path, key: &Path, authority: &Path) -> Result<Tls, String> {
        Tls::new(certificates(cert)?, private_key(key)?, certificates(authority)?)
            .map_err(|error| format!("{} with {}: {error}", cert.display(), key.display()))
    }

    /// From a chain (this node's certificate first), its key and the authority's certificates.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authority: Vec<CertificateDer<'static>>,
    ) -> Result<Tls, Error> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let client = client_builder(provider, roots)?.with_client_auth_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let connector = TlsConnector::from(Arc::new(client));
        Ok(Tls { ends: Arc::new(RwLock::new(Ends { acceptor, connector })) })
    }

    /// Connections that are made from now on are made as by `newer`, which nobody else has.
    pub fn renew(&self, newer: Tls) {
        std::mem::swap(&mut *write(&self.ends), &mut *write(&newer.ends));
    }

    pub async fn connect(&self, host: &str, stream: Box<dyn Io>) -> std::io::Result<Box<dyn Io>> {
        let connector = read(&self.ends).connector.clone();
        // Only sent along; nothing is checked against it. What is no name, like fe80::1%eth0, is left out.
        let fallback = ServerName::try_from("cairn").expect("a legal name");
        let name = ServerName::try_from(host.to_owned()).unwrap_or(fallback);
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    pub async fn accept(&self, stream: Box<dyn Io>) -> std::io::Result<Box<dyn Io>> {
        let acceptor = read(&self.ends).acceptor.clone();
        Ok(Box::new(acceptor.accept(stream).await?))
    }
}

/// For a connection to a server whose certificate is signed by one of `roots`, whatever name is in it. `own`: what this end
/// shows, if it is asked for it.
pub fn client(
    roots: RootCertStore,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let builder = client_builder(Arc::new(ring::default_provider()), Arc::new(roots))?;
    match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

fn client_builder(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let verifier = SignedByAuthority { roots, algorithms: algorithms(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

fn read(ends: &RwLock<Ends>) -> RwLockReadGuard<'_, Ends> {
    ends.read().expect("nothing panics while it has the ends")
}

fn write(ends: &RwLock<Ends>) -> RwLockWriteGuard<'_, Ends> {
    ends.write().expect("nothing panics while it has the ends")
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// Everything that the usual verification checks, but not the name.
#[derive(Debug)]
struct SignedByAuthority {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for SignedByAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
