//! [`TlsIdentity`]: the certificate that a server shows.

use std::{fmt, fs, path::Path, sync::Arc};

use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::Error;

/// A chain of certificates and the key of the first.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    origins: [String; 2],
}

impl TlsIdentity {
    /// Reads PEM files: the chain, the server's own certificate first, and its key.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read = |path: &Path| {
            fs::read(path).map_err(|source| Error::ReadPem {
                path: path.to_owned(),
                source,
            })
        };
        let origins = [certificate, key].map(|path| path.display().to_string());
        Self::parse(&read(certificate)?, &read(key)?, origins)
    }

    /// Reads PEM texts, as [`TlsIdentity::open`] does files.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::parse(
            certificate,
            key,
            ["the given certificate", "the given key"].map(str::to_owned),
        )
    }

    fn parse(certificate: &[u8], key: &[u8], origins: [String; 2]) -> Result<Self, Error> {
        let in_pem = |index: usize, expected| {
            let origin = origins[index].clone();
            move |source| Error::Pem {
                origin,
                expected,
                source,
            }
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(in_pem(0, "certificate"))?;
        if chain.is_empty() {
            return Err(in_pem(0, "certificate")(rustls_pki_types::pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(in_pem(1, "private key"))?;
        Ok(Self { chain, key, origins })
    }

    pub(crate) fn into_config(self) -> Result<Arc<ServerConfig>, Error> {
        let Self {
            chain,
            key,
            origins: [certificate_origin, key_origin],
        } = self;
        let in_identity = |source| Error::Identity {
            certificate: certificate_origin.clone(),
            key: key_origin.clone(),
            source,
        };
        // The provider is named: a default of the process would depend on what else is linked in.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(in_identity)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(in_identity)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("certificate", &self.origins[0])
            .field("key", &"[redacted]")
            .finish()
    }
}
