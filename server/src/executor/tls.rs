//! TLS with clients, and with the server that is followed: rustls over a socket, in the executor's own thread.
//!
//! Nothing here waits: a handshake goes on whenever its socket has something, as a part of reading. Ciphertext that the
//! socket does not take stays in rustls's buffers, which are bounded; until it has left, the plaintext that it came from
//! counts as unwritten, so that whoever writes learns of a slow client as from a plain socket.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, bail};
use cairn_engine::config::Config;
use cairn_replication::transport::tls::{certificates, client, private_key};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

/// Plaintext encrypted at once.
const PLAINTEXT_MAX: usize = 64 * 1024;

/// What connections are made with, as the `tls-` directives say. Fails with what is wrong with which file.
pub fn acceptor(config: &Config) -> Result<Arc<ServerConfig>> {
    if config.tls_cert_file.is_empty() || config.tls_key_file.is_empty() {
        bail!("tls-port needs tls-cert-file and tls-key-file");
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(config)?)?;
    let builder = if config.tls_auth_clients == "no" {
        builder.with_no_client_auth()
    } else {
        let why = format!("tls-auth-clients {}", config.tls_auth_clients);
        let roots = Arc::new(authorities(config, &why)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier =
            if config.tls_auth_clients == "optional" { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build()?)
    };
    let (cert, key) = (Path::new(&config.tls_cert_file), Path::new(&config.tls_key_file));
    let chain = certificates(cert).map_err(anyhow::Error::msg)?;
    let mut acceptor = builder
        .with_single_cert(chain, private_key(key).map_err(anyhow::Error::msg)?)
        .with_context(|| format!("{} with {}", cert.display(), key.display()))?;
    acceptor.session_storage = if config.tls_session_caching {
        // 0 is no limit to Redis; nothing here is without one.
        let size = Some(config.tls_session_cache_size as usize).filter(|&size| size > 0);
        ServerSessionMemoryCache::new(size.unwrap_or(SESSIONS_DEFAULT))
    } else {
        acceptor.send_tls13_tickets = 0;
        Arc::new(NoServerSessionStorage {})
    };
    Ok(Arc::new(acceptor))
}

const SESSIONS_DEFAULT: usize = 20 * 1024;

fn versions(config: &Config) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let mut versions = Vec::new();
    for name in config.tls_protocols.split_ascii_whitespace() {
        versions.push(match name.to_ascii_lowercase().as_str() {
            "tlsv1.2" => &TLS12,
            "tlsv1.3" => &TLS13,
            _ => bail!("tls-protocols: '{name}' is not spoken, only TLSv1.2 and TLSv1.3"),
        });
    }
    if versions.is_empty() {
        versions.extend([&TLS13, &TLS12]);
    }
    Ok(versions)
}

/// What a connection to the server that is followed is made with. This server shows its certificate if it has one.
pub fn connector(config: &Config) -> Result<Arc<ClientConfig>> {
    let (cert, key) = (Path::new(&config.tls_cert_file), Path::new(&config.tls_key_file));
    let own = if config.tls_cert_file.is_empty() {
        None
    } else {
        let chain = certificates(cert).map_err(anyhow::Error::msg)?;
        Some((chain, private_key(key).map_err(anyhow::Error::msg)?))
    };
    Ok(Arc::new(client(authorities(config, "tls-replication yes")?, own)?))
}

/// Whose signature makes the other end's certificate good.
fn authorities(config: &Config, why: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut add = |path: &Path| -> Result<()> {
        for certificate in certificates(path).map_err(anyhow::Error::msg)? {
            roots.add(certificate).with_context(|| path.display().to_string())?;
        }
        Ok(())
    };
    if !config.tls_ca_cert_file.is_empty() {
        add(Path::new(&config.tls_ca_cert_file))?;
    }
    if !config.tls_ca_cert_dir.is_empty() {
        let dir = &config.tls_ca_cert_dir;
        for entry in std::fs::read_dir(dir).with_context(|| format!("tls-ca-cert-dir {dir}"))? {
            let path = entry.with_context(|| format!("tls-ca-cert-dir {dir}"))?.path();
            if path.is_file() {
                add(&path)?;
            }
        }
    }
    if roots.is_empty() {
        bail!("{why} needs tls-ca-cert-file or tls-ca-cert-dir");
    }
    Ok(roots)
}

/// A socket with TLS on it.
pub struct TlsStream {
    socket: TcpStream,
    tls: Connection,
    /// Plaintext that has been encrypted and whose ciphertext has not all left.
    encrypted: usize,
}

impl TlsStream {
    pub fn new(socket: TcpStream, acceptor: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = ServerConnection::new(acceptor).map_err(io::Error::other)?;
        Ok(Self::of(socket, tls.into()))
    }

    /// This end's, of a connection to a server called `host`.
    pub fn connect(socket: TcpStream, config: Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        // Only sent along; nothing is checked against it.
        let fallback = ServerName::try_from("cairn").expect("a legal name");
        let name = ServerName::try_from(host.to_owned()).unwrap_or(fallback);
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Self::of(socket, tls.into()))
    }

    fn of(socket: TcpStream, mut tls: Connection) -> Self {
        tls.set_buffer_limit(Some(PLAINTEXT_MAX));
        Self { socket, tls, encrypted: 0 }
    }

    /// Must it be read from before anything can be written?
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { socket, tls, .. } = self;
        or_pending(receive(tls, &mut Polled { socket, cx }, buf))
    }

    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Self { socket, tls, encrypted } = self;
        or_pending(send(tls, encrypted, &mut Polled { socket, cx }, slices))
    }

    /// Reads what is there, whatever the I/O driver knows.
    pub fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        receive(&mut self.tls, &mut Direct(SockRef::from(&self.socket)), buf)
    }

    /// Writes what the socket takes at once, whatever the I/O driver knows.
    pub fn write_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Self { socket, tls, encrypted } = self;
        send(tls, encrypted, &mut Direct(SockRef::from(&*socket)), slices)
    }
}

impl Drop for TlsStream {
    /// The other end hears that this is the end, and not somebody who cuts the connection. Best effort, as is a FIN.
    fn drop(&mut self) {
        self.tls.send_close_notify();
        let _ = self.tls.write_tls(&mut Direct(SockRef::from(&self.socket)));
    }
}

fn or_pending<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

/// Decrypts what has come, until there is plaintext. `WouldBlock` when more has to come first.
fn receive(tls: &mut Connection, socket: &mut (impl Read + Write), buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Without a farewell: to a protocol that says how long its messages are, an end like any other.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            outcome => return outcome,
        }
        // The handshake, alerts, and what an earlier write has left. A full socket is no reason not to read.
        flush(tls, socket).or_else(unless_blocked)?;
        if tls.read_tls(socket)? == 0 {
            // The next round sees what that means.
            if tls.is_handshaking() {
                return Ok(0);
            }
        }
        if let Err(error) = tls.process_new_packets() {
            // The other end is told why, if it listens.
            let _ = flush(tls, socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        flush(tls, socket).or_else(unless_blocked)?;
    }
}

/// Encrypts and sends some of the slices. Says how much plaintext has left; `WouldBlock` when that is none, and then the
/// same bytes must come again.
fn send(
    tls: &mut Connection,
    encrypted: &mut usize,
    socket: &mut (impl Read + Write),
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    if tls.is_handshaking() {
        // The reading side carries it on.
        flush(tls, socket)?;
        return Err(ErrorKind::WouldBlock.into());
    }
    if *encrypted == 0 {
        *encrypted = tls.writer().write_vectored(slices)?;
    }
    flush(tls, socket)?;
    Ok(std::mem::take(encrypted))
}

fn flush(tls: &mut Connection, socket: &mut impl Write) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(socket)? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

fn unless_blocked(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) }
}

/// A socket that registers a waker when it has nothing to give, or takes nothing.
struct Polled<'a, 'b, 'c> {
    socket: &'a mut TcpStream,
    cx: &'b mut Context<'c>,
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl Read for Polled<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        or_would_block(Pin::new(&mut *self.socket).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl Write for Polled<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.socket).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The socket itself.
struct Direct<'a>(SockRef<'a>);

impl Read for Direct<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
}

impl Write for Direct<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buf)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.0).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
