//! Encrypted connections.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use millpond_pool::{Error, ErrorKind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Which certificates are believed.
#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    server: ServerName<'static>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// For a server of the name `host`, believing the authorities in a PEM file, or else those that
    /// the system believes.
    pub(crate) fn new(host: &str, authorities: Option<&Path>) -> Result<Tls> {
        let config = |message: String| Error::new(ErrorKind::Config, message);
        let mut roots = RootCertStore::empty();
        match authorities {
            Some(path) => {
                let unreadable =
                    || config("the file of certificate authorities cannot be read".to_owned());
                let found = CertificateDer::pem_file_iter(path).map_err(|_| unreadable())?;
                for certificate in found {
                    let certificate = certificate.map_err(|_| unreadable())?;
                    roots.add(certificate).map_err(|_| unreadable())?;
                }
            }
            // Some systems have certificates among them that nothing can read.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(config(
                "no certificate authority is known: install the system's (`ca-certificates`), or \
                 name a file of them"
                    .to_owned(),
            ));
        }
        let server = ServerName::try_from(host.to_owned())
            .map_err(|_| config("the server's URL has a host that no certificate names".into()))?;
        // Named, because another crate of the program may have chosen another for the process.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| config(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(client)),
            server,
        })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.server.clone(), stream).await
    }
}
