//! [`Server`]: listening, TLS and shutting down.

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::Router;
use axum_server::{
    Handle,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use dhow_site::Files;

use crate::{Error, TlsIdentity, answer::answer, linger::LingeringAcceptor};

/// How long clients may finish what they are receiving when the server shuts down.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// What is served, and where.
#[derive(Debug)]
pub struct ServeConfig {
    /// The site.
    pub files: Files,
    /// The address to listen on; port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// Whether connections are encrypted.
    pub transport: Transport,
}

/// How clients connect.
#[derive(Debug)]
pub enum Transport {
    /// By HTTPS.
    Tls(TlsIdentity),
    /// By HTTP, which anyone on the way can read and change: for a proxy before the server that does TLS.
    InsecureHttp,
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    files: Files,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
    handle: ServeHandle,
}

/// Stops a [`Server`] that is running elsewhere.
#[derive(Clone, Debug)]
pub struct ServeHandle(Handle<SocketAddr>);

/// Serves until the process ends. For more control, see [`Server`].
pub async fn serve(config: ServeConfig) -> Result<(), Error> {
    Server::bind(config)?.run().await
}

impl Server {
    /// Begins to listen, so that the address is known and clients can connect, and wait, from now on.
    pub fn bind(config: ServeConfig) -> Result<Self, Error> {
        let tls = match config.transport {
            Transport::Tls(identity) => Some(RustlsConfig::from_config(identity.into_config()?)),
            Transport::InsecureHttp => None,
        };
        let in_address = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(in_address)?;
        let address = listener.local_addr().map_err(in_address)?;
        Ok(Self {
            files: config.files,
            listener,
            address,
            tls,
            handle: ServeHandle(Handle::new()),
        })
    }

    /// The address it listens on, with the port that it has.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of what it serves, as seen from this machine.
    pub fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.tls.is_some() { "https" } else { "http" },
            self.address
        )
    }

    /// What stops it.
    pub fn handle(&self) -> ServeHandle {
        self.handle.clone()
    }

    /// Answers until the handle says to shut down.
    pub async fn run(self) -> Result<(), Error> {
        let Self {
            files,
            listener,
            address,
            tls,
            handle,
        } = self;
        let service = Router::new()
            .fallback(answer)
            .with_state(files)
            .into_make_service_with_connect_info::<SocketAddr>();
        let in_server = |source| Error::Serve { address, source };
        let mut server = axum_server::from_tcp(listener).map_err(in_server)?.handle(handle.0);
        server.http_builder().http1().header_read_timeout(REQUEST_TIME);
        match tls {
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).acceptor(LingeringAcceptor);
                server.acceptor(acceptor).serve(service).await
            }
            None => server.acceptor(LingeringAcceptor).serve(service).await,
        }
        .map_err(in_server)
    }
}

impl ServeHandle {
    /// Takes no more connections, lets clients finish what they are receiving, for ten seconds, and stops.
    pub fn shut_down(&self) {
        self.0.graceful_shutdown(Some(GRACE));
    }

    /// Stops at once.
    pub fn abort(&self) {
        self.0.shutdown();
    }
}
