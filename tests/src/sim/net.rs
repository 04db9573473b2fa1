//! turmoil's TCP, for peers and for clients.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use cairn_replication::transport::net::{Io, Listener, Net};
use cairn_server::executor::{Accept, Accepted, Stream};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use turmoil::net::{TcpListener, TcpStream};

use super::machine;

/// The network between nodes. What may block on a disk is done on the spot: the simulated disk takes no time by itself.
pub struct SimNet;

struct PeerListener(TcpListener);

impl Net for SimNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move { Ok(Box::new(TcpStream::connect((host, port)).await?) as Box<dyn Io>) })
    }

    fn bind<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind((host, port)).await?;
            Ok(Box::new(PeerListener(listener)) as Box<dyn Listener>)
        })
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        assert!(machine::fill_random(bytes), "only a simulation has this network");
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(async {})
    }
}

impl Listener for PeerListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>> {
        Box::pin(async {
            let (stream, address) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn Io>, address))
        })
    }
}

/// Where a node's clients come in.
pub struct ClientListener(RefCell<mpsc::UnboundedReceiver<(TcpStream, SocketAddr)>>);

impl ClientListener {
    /// Listens at this port of the present host.
    pub async fn bind(port: u16) -> io::Result<ClientListener> {
        let listener = TcpListener::bind(("0.0.0.0", port)).await?;
        let (sender, incoming) = mpsc::unbounded_channel();
        tokio::task::spawn_local(async move {
            while let Ok(accepted) = listener.accept().await {
                if sender.send(accepted).is_err() {
                    return;
                }
            }
        });
        Ok(ClientListener(RefCell::new(incoming)))
    }
}

impl Accept for ClientListener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let Poll::Ready(incoming) = self.0.borrow_mut().poll_recv(cx) else { return Poll::Pending };
        let Some((stream, address)) = incoming else { return Poll::Pending };
        Poll::Ready(Ok(Accepted {
            local_address: stream.local_addr()?.to_string(),
            stream: Stream::Boxed(Box::new(stream)),
            address: address.to_string(),
            unix_socket: false,
            local: true,
        }))
    }
}
