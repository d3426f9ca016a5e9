//! `dhow mirror serve`.

use std::{io::Write, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::Args;
use dhow_mirror::{ServeConfig, ServeHandle, Server, TlsIdentity, Transport};
use dhow_site::Files;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serves a site over HTTPS
///
/// A site is what `dhow publish` writes. The URL under which it is served stands on stdout, alone on its first line,
/// as soon as clients can connect. SIGTERM or Ctrl-C lets downloads end, for ten seconds; a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    dhow mirror serve --site /srv/site --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem\n  \
    dhow mirror serve --site /srv/site --listen 127.0.0.1:8080 --insecure-http")]
pub(crate) struct Serve {
    /// The site: a directory, or a URL such as `file:///srv/site`
    #[arg(long, value_name = "DIR|URL")]
    site: String,
    /// The address to listen on; port 0 takes any free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// The certificate to show, and those that lead to its authority, in PEM form
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        required_unless_present = "insecure_http"
    )]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM form
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serves without TLS, so that anyone on the way can read and change what is sent: for a proxy that does TLS
    #[arg(long, conflicts_with = "tls_cert")]
    insecure_http: bool,
}

impl Serve {
    #[tokio::main]
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let transport = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Transport::Tls(TlsIdentity::open(certificate, key)?),
            _ => Transport::InsecureHttp,
        };
        let server = Server::bind(ServeConfig {
            files: Files::open(&self.site)?,
            listen: self.listen,
            transport,
        })?;
        // Before the address is printed: whoever reads it may send a signal at once.
        let stop = [SignalKind::terminate(), SignalKind::interrupt()];
        let [terminate, interrupt] = stop.map(signal);
        tokio::spawn(stop_on_signal(
            terminate.context("could not wait for SIGTERM")?,
            interrupt.context("could not wait for SIGINT")?,
            server.handle(),
        ));

        let url = server.url();
        tell(&format!("Serving `{}` at {url}; Ctrl-C stops it", self.site));
        // Nobody may be listening to stdout: the server serves all the same.
        let _ = writeln!(std::io::stdout(), "{url}").and_then(|()| std::io::stdout().flush());
        server.run().await?;
        tell("Stopped");
        Ok(())
    }
}

async fn stop_on_signal(mut terminate: Signal, mut interrupt: Signal, handle: ServeHandle) {
    let mut stop = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };
    stop().await;
    tell("Stopping: downloads may take ten seconds more");
    handle.shut_down();
    stop().await;
    handle.abort();
}

#[expect(clippy::print_stderr, reason = "what a program says about itself belongs there")]
fn tell(text: &str) {
    eprintln!("{text}");
}
