//! Encrypted connections, with certificates of the test's own.

use std::path::Path;

use millpond_libsql::PoolBuilder;
use millpond_pool::ErrorKind;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::server::Server;
use crate::{NONE, READ, close, get, kind};

fn write_certificate(folder: &Path, name: &str) -> (ServerConfig, std::path::PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, cert.pem()).expect("written");
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a configuration");
    (config, path)
}

#[tokio::test]
async fn a_server_is_believed_that_has_a_certificate_of_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, authorities) = write_certificate(folder.path(), "localhost");
    let server = Server::start_tls(config).await;
    let port = server.address.port();
    for url in [
        format!("https://localhost:{port}"),
        format!("libsql://localhost:{port}"),
    ] {
        let builder = PoolBuilder::new().certificate_authorities(&authorities);
        let pool = builder.open(&url).await.expect("a pool");
        let connection = get(&pool).await;
        connection.query(READ, &NONE).await.expect("rows");
        drop(connection);
        close(pool).await;
    }
    // Another name, another authority, no encryption.
    let builder = || PoolBuilder::new().certificate_authorities(&authorities);
    let other = format!("https://127.0.0.1:{port}");
    assert_eq!(kind(builder().open(&other).await), ErrorKind::Unavailable);
    let (_, others) = write_certificate(folder.path(), "other.example");
    let builder = PoolBuilder::new().certificate_authorities(others);
    let url = format!("https://localhost:{port}");
    assert_eq!(kind(builder.open(&url).await), ErrorKind::Unavailable);
    let plain = format!("http://localhost:{port}");
    assert!(PoolBuilder::new().open(&plain).await.is_err());
    let nothing = folder.path().join("nothing.pem");
    let builder = PoolBuilder::new().certificate_authorities(nothing);
    assert_eq!(kind(builder.open(&url).await), ErrorKind::Config);
}
