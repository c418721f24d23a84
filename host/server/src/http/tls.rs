//! Certificates: read from files, and read again when these change.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use tokio_rustls::TlsAcceptor;

use crate::changes::{LOOK_EVERY, Stamps};
use crate::config;
use crate::error::{Error, Result};
use crate::log::{Event, Log};

/// The names of the protocols in the handshake (RFC 7301).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP11: &[u8] = b"http/1.1";

/// A certificate and its key, as they are in their files now.
pub(super) struct Identity {
    files: config::Tls,
    current: RwLock<Arc<CertifiedKey>>,
    stamps: Mutex<Stamps>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Identity {
    /// Read the files of a listener.
    pub(super) fn load(files: &config::Tls, log: &dyn Log) -> Result<Arc<Identity>> {
        let mut stamps = Stamps::default();
        stamps.reading([files.certificate.clone(), files.key.clone()]);
        let current = read(files, log)?;
        Ok(Arc::new(Identity {
            files: files.clone(),
            current: RwLock::new(Arc::new(current)),
            stamps: Mutex::new(stamps),
        }))
    }

    /// TLS 1.2 and 1.3 with this certificate, for connections that begin from now on.
    pub(super) fn acceptor(self: &Arc<Identity>, http2: bool) -> Result<TlsAcceptor> {
        // Named, because another crate of the program may have chosen another for the process.
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::new)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        if http2 {
            config.alpn_protocols.push(HTTP2.to_vec());
        }
        config.alpn_protocols.push(HTTP11.to_vec());
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Read the files again if they have changed.
    fn look(&self, log: &dyn Log) {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if !stamps.look() {
            return;
        }
        let certificate = self.files.certificate.as_path();
        match read(&self.files, log) {
            Ok(new) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                *current = Arc::new(new);
                log.event(&Event::CertificateReloaded { certificate });
            }
            Err(error) => log.event(&Event::CertificateProblem {
                certificate,
                reason: &format!("{error}: the server continues with the certificate before"),
            }),
        }
    }
}

/// Read changed certificates again. Never returns.
pub(super) async fn watch(identities: Vec<Arc<Identity>>, log: Arc<dyn Log>) {
    let identities = Arc::new(identities);
    while !identities.is_empty() {
        tokio::time::sleep(LOOK_EVERY).await;
        let (identities, log) = (Arc::clone(&identities), Arc::clone(&log));
        // A file may be on another machine.
        let looking = tokio::task::spawn_blocking(move || {
            for identity in &*identities {
                identity.look(&*log);
            }
        });
        let _ = looking.await;
    }
}

/// A certificate with those of its authorities, and its key.
fn read(files: &config::Tls, log: &dyn Log) -> Result<CertifiedKey> {
    let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, "certificate", "", &error))?;
    if chain.is_empty() {
        let error = pem::Error::NoItemsFound;
        return Err(unreadable(certificate, "certificate", "", &error));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let hint = ": an encrypted key must be decrypted first";
        unreadable(key, "private key", hint, &error)
    })?;
    let provider = ring::default_provider();
    let pair = CertifiedKey::from_der(chain, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let certificate = certificate.display();
            Error::about(
                key,
                format_args!("not the key of the certificate in {certificate}"),
            )
        }
        rustls::Error::InvalidCertificate(_) => {
            Error::about(certificate, "not a valid X.509 certificate")
        }
        _ => Error::about(key, "not a valid RSA, ECDSA or Ed25519 key"),
    })?;
    if let Some(reason) = pair.cert.first().and_then(|end| outdated(end, &provider)) {
        log.event(&Event::CertificateProblem {
            certificate,
            reason,
        });
    }
    Ok(pair)
}

fn unreadable(file: &Path, what: &str, hint: &str, error: &pem::Error) -> Error {
    match error {
        pem::Error::Io(error) => Error::about(file, format_args!("cannot be read: {error}")),
        pem::Error::NoItemsFound => Error::about(file, format_args!("no {what} in PEM{hint}")),
        error => Error::about(file, format_args!("not valid PEM: {error}")),
    }
}

/// Why clients refuse a certificate today.
fn outdated(certificate: &CertificateDer<'_>, provider: &CryptoProvider) -> Option<&'static str> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    // It is signed by none of no authorities, but its dates are verified first.
    let outcome = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &RootCertStore::empty(),
        &[],
        UnixTime::now(),
        provider.signature_verification_algorithms.all,
    );
    let Err(rustls::Error::InvalidCertificate(error)) = outcome else {
        return None;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Some("it has expired, so clients refuse it")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Some("it is not valid yet, so clients refuse it")
        }
        _ => None,
    }
}
