//! A certificate that nobody trusts.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot sign it")]
    Sign { source: rcgen::Error },
    #[error("cannot use it")]
    Use { source: tokio_rustls::rustls::Error },
}

/// An acceptor with a fresh certificate for `localhost` and 127.0.0.1, and that certificate as PEM.
pub(crate) fn self_signed() -> Result<(TlsAcceptor, String), TlsError> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = generate_simple_self_signed(names).map_err(|source| TlsError::Sign { source })?;
    let CertifiedKey { cert, signing_key } = made;
    let failed = |source| TlsError::Use { source };
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .map_err(failed)?;
    Ok((TlsAcceptor::from(Arc::new(config)), cert.pem()))
}
