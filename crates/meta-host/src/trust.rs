//! Whom TLS connections trust: what the system trusts, and beside it a site's own authorities.

use thiserror::Error;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

/// A site's certificates are of no use.
#[derive(Debug, Error)]
pub enum TrustError {
    /// There are none in the text.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// One of them cannot be read.
    #[error("a certificate in it is damaged")]
    Damaged(#[source] Box<ureq::Error>),
}

/// The roots to trust: the system's alone, or beside them the certificates of the PEM text `own`. With its own ones a server
/// that moves to a public authority stays reachable.
///
/// # Errors
/// Where `own` has no certificates, or a damaged one.
pub fn roots(own: Option<&[u8]>) -> Result<RootCerts, TrustError> {
    match own {
        None => Ok(RootCerts::PlatformVerifier),
        Some(pem) => Ok(RootCerts::from(with_system_roots(certificates(pem)?))),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, TrustError> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        let item = item.map_err(|source| TrustError::Damaged(Box::new(source)))?;
        if let PemItem::Certificate(certificate) = item {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(TrustError::NoCertificate) } else { Ok(certificates) }
}

fn with_system_roots(mut certificates: Vec<Certificate<'static>>) -> Vec<Certificate<'static>> {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::debug!("cannot load a system certificate: {error}");
    }
    certificates.extend(system.certs.iter().map(|der| Certificate::from_der(der).to_owned()));
    certificates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(matches!(roots(None), Ok(RootCerts::PlatformVerifier)));
        assert!(matches!(roots(Some(b"no certificate")), Err(TrustError::NoCertificate)));
        let damaged = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(roots(Some(damaged)), Err(TrustError::Damaged(_))));
    }
}
