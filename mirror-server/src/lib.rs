//! A mirror: a server that gives out a site.
//!
//! Its whole state is the site's files, in a directory or a bucket (`dhow_site::Files`); it needs no key and no other
//! database. Clients ask it by the protocol of any publisher, base URL + name.
//!
//! ```text
//!   Server (TLS, shutdown) ──► answer ──► RequestPath ──► Files ──► conditional, range ──► stream
//! ```
//!
//! It may use every library of the workspace above it; today it needs `dhow-site` alone.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dhow_mirror::{ServeConfig, Server, TlsIdentity, Transport};
//!
//! let server = Server::bind(ServeConfig {
//!     files: dhow_site::Files::open("/srv/site")?,
//!     listen: "127.0.0.1:0".parse()?,
//!     transport: Transport::Tls(TlsIdentity::open("cert.pem".as_ref(), "key.pem".as_ref())?),
//! })?;
//! let (address, handle) = (server.local_addr(), server.handle());
//! let task = tokio::spawn(server.run());
//! // … clients use `address` …
//! handle.shut_down();
//! task.await??;
//! # Ok(())
//! # }
//! ```

mod answer;
mod conditional;
mod error;
mod linger;
mod range;
mod request_path;
mod server;
mod tls;

pub use error::Error;
pub use server::{ServeConfig, ServeHandle, Server, Transport, serve};
pub use tls::TlsIdentity;
