//! The tenant in a claim of a verified JSON Web Token.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Refusal, TenantKey, signature};
use crate::{Error, Result};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 8 << 10;
/// The largest file with a key, in bytes.
const MAX_KEY_FILE: u64 = 64 << 10;
/// As long as the hash: <https://www.rfc-editor.org/rfc/rfc7518#section-3.2>
const MIN_SECRET: usize = 32;
/// A public RSA key of 2,048 bits is longer than its modulus.
const MIN_RSA_KEY: usize = 256;
/// How much clocks may differ.
const LEEWAY_SECONDS: u64 = 60;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256 and a secret that the issuer and this server share.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256, with 2,048 bits or more.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with the curve P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// EdDSA with the curve Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

#[derive(Debug)]
pub(super) struct TokenSource {
    claim: String,
    keys: Vec<DecodingKey>,
    validation: Validation,
}

impl TokenSource {
    pub(super) fn new(
        claim: &str,
        algorithm: Algorithm,
        keys: &[PathBuf],
        issuer: Option<&str>,
        audience: Option<&str>,
    ) -> Result<TokenSource> {
        if keys.is_empty() {
            return Err(Error::new(
                "tokens need a file with a key: name it in `keys`",
            ));
        }
        signature::install();
        let mut validation = Validation::new(match algorithm {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        });
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        // Otherwise a token without the claim would be accepted.
        let required = [
            ("exp", true),
            ("iss", issuer.is_some()),
            ("aud", audience.is_some()),
        ];
        let required = required.iter().filter(|(_, is_required)| *is_required);
        validation.required_spec_claims = required.map(|(name, _)| (*name).to_owned()).collect();
        if let Some(issuer) = issuer {
            validation.set_issuer(&[issuer]);
        }
        if let Some(audience) = audience {
            validation.set_audience(&[audience]);
        }
        let keys = keys.iter().map(|file| read_key(file, algorithm));
        Ok(TokenSource {
            claim: claim.to_owned(),
            keys: keys.collect::<Result<_>>()?,
            validation,
        })
    }

    pub(super) fn key(&self, headers: &HeaderMap) -> Result<TenantKey, Refusal> {
        let token = bearer(headers)?;
        let mut decoded = self.keys.iter().filter_map(|key| {
            let decoded = decode::<Map<String, Value>>(token, key, &self.validation);
            decoded.ok()
        });
        let decoded = decoded.next().ok_or(Refusal::InvalidToken(
            "the token is malformed, has expired, or is not signed with a key of ours for us",
        ))?;
        // It says what this must understand to accept it, which it does not.
        if decoded.header.crit.is_some() {
            return Err(Refusal::InvalidToken("the token has `crit`"));
        }
        let claim = decoded.claims.get(&self.claim).and_then(Value::as_str);
        let key = claim.and_then(|key| TenantKey::new(key).ok());
        key.ok_or(Refusal::InvalidToken(
            "the token's claim is missing, or not a key",
        ))
    }
}

/// The token of the header `authorization`.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Err(Refusal::NoToken),
        (Some(_), Some(_)) => {
            return Err(Refusal::Malformed(
                "there are several headers `authorization`",
            ));
        }
        (Some(value), None) => value.to_str(),
    };
    let value = value.map_err(|_| Refusal::Malformed("`authorization` is not ASCII"))?;
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        _ => return Err(Refusal::NoToken),
    };
    match token.trim_start_matches(' ') {
        token if token.len() > MAX_TOKEN => Err(Refusal::InvalidToken("the token is too long")),
        token => Ok(token),
    }
}

fn read_key(path: &Path, algorithm: Algorithm) -> Result<DecodingKey> {
    let mut bytes = Vec::new();
    let file =
        File::open(path).and_then(|file| file.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes));
    file.map_err(|error| Error::about(path, format_args!("cannot read the key: {error}")))?;
    if bytes.len() as u64 > MAX_KEY_FILE {
        return Err(Error::about(path, "it is too large for a key"));
    }
    let text = String::from_utf8_lossy(&bytes);
    let has = |part: &str| text.contains(part);
    if algorithm == Algorithm::Hs256 {
        // A public key as a secret would let everyone sign.
        if has("-----BEGIN ") {
            return Err(Error::about(
                path,
                "it is a key in PEM, not a secret: name the algorithm that it is for",
            ));
        }
        return secret(path, &bytes);
    }
    if has("PRIVATE KEY-----") {
        let message = "it has a private key, which this server must not have: write its public key";
        return Err(Error::about(path, message));
    }
    let key = match algorithm {
        Algorithm::Rs256 => DecodingKey::from_rsa_pem(&bytes),
        Algorithm::Es256 => DecodingKey::from_ec_pem(&bytes),
        Algorithm::EdDsa | Algorithm::Hs256 => DecodingKey::from_ed_pem(&bytes),
    };
    let fits = |key: &DecodingKey| match algorithm {
        Algorithm::Rs256 => key.as_bytes().len() > MIN_RSA_KEY,
        // A point of P-256, not compressed, and one of Ed25519.
        Algorithm::Es256 => key.as_bytes().len() == 65,
        Algorithm::EdDsa | Algorithm::Hs256 => key.as_bytes().len() == 32,
    };
    let wanted = match algorithm {
        Algorithm::Rs256 => "an RSA key with 2048 bits or more",
        Algorithm::Es256 => "a key of the curve P-256",
        Algorithm::EdDsa | Algorithm::Hs256 => "a key of the curve Ed25519",
    };
    let is_public = has("-----BEGIN PUBLIC KEY-----") || has("-----BEGIN RSA PUBLIC KEY-----");
    let key = key.ok().filter(|key| is_public && fits(key));
    key.ok_or_else(|| {
        let message =
            format_args!("it has no public key for this algorithm: write {wanted}, in PEM");
        Error::about(path, message)
    })
}

fn secret(path: &Path, bytes: &[u8]) -> Result<DecodingKey> {
    let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    match secret.len() {
        ..MIN_SECRET => Err(Error::about(
            path,
            format_args!("the secret is shorter than {MIN_SECRET} bytes: write a longer one"),
        )),
        _ => Ok(DecodingKey::from_secret(secret)),
    }
}
