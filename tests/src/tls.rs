//! Certificates, and a client that speaks TLS: rustls at the other end of the real server.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::golden::Reply;

const LIMIT: Duration = Duration::from_secs(20);

/// Certificates of one authority, in files.
pub struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn create() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { dir: tempfile::tempdir().unwrap(), issuer };
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority.sign("server");
        authority.sign("client");
        authority
    }

    pub fn path(&self, file: &str) -> String {
        self.dir.path().join(file).to_str().unwrap().to_owned()
    }

    /// A new key and certificate for `localhost`, in `NAME.pem` and `NAME.key`.
    pub fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
    }

    fn certificates(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.path(&format!("{name}.pem")))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    /// A client that trusts this authority, and shows the certificate of that name.
    pub fn client(
        &self,
        certificate: Option<&str>,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificates("ca").remove(0)).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match certificate {
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(self.certificates(name), key).unwrap()
            }
            None => builder.with_no_client_auth(),
        })
    }
}

/// A client's end.
pub struct Client {
    pub stream: StreamOwned<ClientConnection, TcpStream>,
    unread: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Client {
        Client::try_connect(addr, config).unwrap()
    }

    /// `None` if nobody listens there.
    pub fn try_connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Option<Client> {
        let socket = TcpStream::connect(addr).ok()?;
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
        Some(Client { stream: StreamOwned::new(tls, socket), unread: Vec::new() })
    }

    /// Sends bytes, and reads as many as `expected` has.
    pub fn talk(&mut self, bytes: &[u8], expected: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.expect(expected);
    }

    pub fn expect(&mut self, expected: &[u8]) {
        while self.unread.len() < expected.len() {
            self.read();
        }
        let rest = self.unread.split_off(expected.len());
        let got = std::mem::replace(&mut self.unread, rest);
        assert!(got == expected, "got {}", got[..got.len().min(200)].escape_ascii());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a command, and reads the reply's bytes.
    pub fn ask(&mut self, command: &[u8]) -> String {
        self.send(command);
        loop {
            if let Some((_, used)) = Reply::decode(&self.unread).unwrap() {
                let rest = self.unread.split_off(used);
                let got = std::mem::replace(&mut self.unread, rest);
                return String::from_utf8_lossy(&got).into_owned();
            }
            self.read();
        }
    }

    fn read(&mut self) {
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed after {:?}", self.unread.escape_ascii().to_string());
        self.unread.extend_from_slice(&chunk[..count]);
    }

    /// Is PING refused, because the handshake fails or the connection is closed?
    pub fn ping_fails(mut self) -> bool {
        let mut reply = [0; 16];
        self.stream.write_all(b"PING\r\n").is_err() || !matches!(self.stream.read(&mut reply), Ok(1..))
    }
}
