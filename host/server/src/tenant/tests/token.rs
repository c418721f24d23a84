//! Tokens: only those that are signed with the operator's key, by the operator's algorithm, and are
//! valid now, for us.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::{Value, json};

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A public key, and a token that it signs: `{"tenant":"acme","exp":4102444800}`.
const RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtirdlbZDxiBkykm6vlIt
oQ31dnntECX9FEV7IN11kQ1Ng7rv1CkU3pPfUsul+Aw5zTkvg/4r2ij/IcW1+g7H
TF3yOoYgqMtoLodc8JP5/pCtxQvRaMthCqS/6NYe9LzStlLKZQsXExzH2Zew+hfB
5/ORaF4O4r5DqRxQN+QafSisOncbrbAotJryld3ePITqmeYWmmcGfyj4ucBodHEB
RIygY2+K7TatOnnnGobmPMfHvfWba/vVcdwVOwQHKKtqDZn622P+tyvLDGoaraSi
QXK1o0CxNvqK+qKXP6nRr0ZO6gsqPOBih9ketOi1tk8UGx/ycVTVzTik5GezHddq
NwIDAQAB
-----END PUBLIC KEY-----
";
const RSA_TOKEN: &str = "\
eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJ0ZW5hbnQiOiJhY21lIiwiZXhwIjo0MTAyNDQ0ODAwfQ.XP_Ylf\
PcxLGqlBzAH8FS5n1prCClvS2NuR9cwQV0lRRtiO-ppljIAUPa_23ENwAcatr5cXYywCciMuFyBwO-yRHbwTaCngK2\
jBEVUWN_YpJxyrT7LJhA-QxGHu7kvEbN6lytdisammcpLMSgLq9tKNGSV9GWT07k3PJUXyOvxCiJc6AP4NCLkpYQbt\
Bt_bjBhbGk0hOqA1k-2Uyc1WiNTFOZZBDLcErj5JR5I_rG0FAYRNS-OwfIblOh6ssbfje31drGQbwIYMOGbomx5tXS\
KH9jM8VVofZ3dx_LGzhQlJoIGcTGlkiwYG6bQiJChuWg1lkC9zGP6y7G8PChV0G5TQ";
/// One of 1,024 bits.
const SHORT_RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQD4SXXWU5QWMacGcIcmdAq9UkLe
enhlaAYLN4bS7hHNnuosTFnC6sQT2ohL2dQ2Hj/0dCZAdSs48raS0Yc2lprSqVSU
vFumkoN+K0pDiu7lhXuD9lQSg/Aq+ijR23x3bOc5QjM8wyAo3LztyK5KXHNeDAlQ
FpSRNHJ9PDsm2XnsGQIDAQAB
-----END PUBLIC KEY-----
";

/// Base 64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(*three.get(at).unwrap_or(&0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for at in 0..=three.len() {
            text.push(char::from(LETTERS[((bits >> (18 - 6 * at)) & 63) as usize]));
        }
    }
    text
}

fn signed(header: &Value, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = base64(header.to_string().as_bytes());
    let message = format!("{header}.{}", base64(claims.as_bytes()));
    let signature = base64(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn hmac(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

/// Signed with the secret.
fn good(claims: &Value) -> String {
    signed(
        &json!({"typ": "JWT", "alg": "HS256"}),
        &claims.to_string(),
        hmac(SECRET),
    )
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A resolver with these keys, each in a file, and more settings.
fn claim(algorithm: &str, keys: &[&[u8]], more: &str) -> crate::Result<TenantResolver> {
    let here = tempfile::tempdir().expect("a folder");
    let file = |(at, key): (usize, &&[u8])| {
        let path = here.path().join(at.to_string());
        fs::write(&path, key).expect("a file");
        path.display().to_string()
    };
    let keys: Vec<_> = keys.iter().enumerate().map(file).collect();
    let text = format!(
        "from = 'claim'\nclaim = 'tenant'\nalgorithm = '{algorithm}'\nkeys = {keys:?}\n{more}"
    );
    toml::from_str::<TenantSource>(&text)
        .expect("settings")
        .open()
}

pub(super) fn hs256() -> TenantResolver {
    claim("HS256", &[SECRET], "").expect("a secret")
}

fn of(resolver: &TenantResolver, authorization: &[&str]) -> Result<String, u16> {
    let bytes = authorization
        .iter()
        .map(|value| (AUTHORIZATION, value.as_bytes()));
    outcome(resolver, request(b"/", &bytes.collect::<Vec<_>>()))
}

fn of_token(resolver: &TenantResolver, token: &str) -> Result<String, u16> {
    of(resolver, &[&format!("Bearer {token}")])
}

#[test]
fn each_algorithm_is_verified() {
    let claims = json!({"tenant": "acme", "exp": now() + 100}).to_string();
    let ed = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let of_ed = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ed.serialize_der()).expect("a key");
    let ed_token = signed(&json!({"alg": "EdDSA"}), &claims, |message| {
        of_ed.sign(message).as_ref().to_vec()
    });
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let random = SystemRandom::new();
    let of_ec = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &ec.serialize_der(),
        &random,
    );
    let of_ec = of_ec.expect("a key");
    let ec_token = signed(&json!({"alg": "ES256"}), &claims, |message| {
        of_ec
            .sign(&random, message)
            .expect("signed")
            .as_ref()
            .to_vec()
    });
    let hs_token = signed(&json!({"alg": "HS256"}), &claims, hmac(SECRET));
    let (ed, ec) = (ed.public_key_pem(), ec.public_key_pem());
    let keys = [
        ("HS256", SECRET, hs_token.as_str()),
        ("RS256", RSA.as_bytes(), RSA_TOKEN),
        ("ES256", ec.as_bytes(), &ec_token),
        ("EdDSA", ed.as_bytes(), &ed_token),
    ];
    for (algorithm, key, _) in keys {
        let resolver = claim(algorithm, &[key], "").expect(algorithm);
        for (other, _, token) in keys {
            let expected = if other == algorithm {
                ok("acme")
            } else {
                Err(401)
            };
            assert_eq!(of_token(&resolver, token), expected, "{algorithm}, {other}");
            // Another signature.
            let (message, signature) = token.rsplit_once('.').expect("three parts");
            let mut bytes = signature.as_bytes().to_vec();
            bytes[5] = if bytes[5] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).expect("text");
            assert_eq!(of_token(&resolver, &format!("{message}.{other}")), Err(401));
            assert_eq!(of_token(&resolver, &format!("{message}.")), Err(401));
        }
        // A public key is known to all: it is no secret.
        let confused = signed(&json!({"alg": "HS256"}), &claims, hmac(key));
        let expected = if algorithm == "HS256" {
            ok("acme")
        } else {
            Err(401)
        };
        assert_eq!(of_token(&resolver, &confused), expected, "{algorithm}");
    }
}

#[test]
fn a_token_without_a_valid_signature_is_refused() {
    let resolver = hs256();
    let claims = json!({"tenant": "acme", "exp": now() + 100});
    let text = claims.to_string();
    assert_eq!(of_token(&resolver, &good(&claims)), ok("acme"));
    for none in ["none", "None", "NONE", "nOnE", ""] {
        for sign in [Vec::new(), b"x".to_vec()] {
            let token = signed(&json!({"alg": none}), &text, |_| sign);
            assert_eq!(of_token(&resolver, &token), Err(401), "{none}");
        }
    }
    for header in [
        json!({}),
        json!({"alg": "HS384"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": ["HS256"]}),
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
    ] {
        let token = signed(&header, &text, hmac(SECRET));
        assert_eq!(of_token(&resolver, &token), Err(401), "{header}");
    }
    let other = signed(&json!({"alg": "HS256"}), &text, hmac(&[b'x'; 32]));
    assert_eq!(of_token(&resolver, &other), Err(401));
    // A key in the token is not used.
    let jwk = json!({"alg": "HS256", "jwk": {"kty": "oct", "k": base64(&[b'x'; 32])}});
    let token = signed(&jwk, &text, hmac(&[b'x'; 32]));
    assert_eq!(of_token(&resolver, &token), Err(401));
}

#[test]
fn a_token_is_valid_for_a_time_and_for_someone() {
    let resolver = hs256();
    let both = "issuer = 'https://login.example.com'\naudience = 'notes'";
    let strict = claim("HS256", &[SECRET], both).expect("a secret");
    let (late, soon) = (now() + 1_000, now() - 1_000);
    let claims = |more: Value| {
        let mut claims = json!({"tenant": "acme", "exp": late});
        let (claims_of, more) = (claims.as_object_mut(), more.as_object().cloned());
        claims_of.expect("a map").extend(more.expect("a map"));
        good(&claims)
    };
    for (more, expected) in [
        (json!({"nbf": soon}), true),
        (json!({"exp": soon}), false),
        (json!({"exp": 0}), false),
        (json!({"exp": -1}), false),
        (json!({"exp": null}), false),
        (json!({"exp": late.to_string()}), false),
        (json!({"exp": [late]}), false),
        (json!({"nbf": late}), false),
        (json!({"nbf": "0"}), false),
        (json!({"aud": "notes"}), false),
        (json!({"aud": ["other"]}), false),
    ] {
        assert_eq!(
            of_token(&resolver, &claims(more.clone())).is_ok(),
            expected,
            "{more}"
        );
    }
    assert_eq!(
        of_token(&resolver, &good(&json!({"tenant": "acme"}))),
        Err(401)
    );
    let issuer = "https://login.example.com";
    for (more, expected) in [
        (json!({"iss": issuer, "aud": "notes"}), true),
        (json!({"iss": issuer, "aud": ["other", "notes"]}), true),
        (json!({"iss": issuer}), false),
        (json!({"aud": "notes"}), false),
        (json!({"iss": issuer, "aud": "other"}), false),
        (json!({"iss": issuer, "aud": []}), false),
        (json!({"iss": issuer, "aud": 1}), false),
        (
            json!({"iss": "https://login.example.com.evil.com", "aud": "notes"}),
            false,
        ),
        (json!({"iss": "", "aud": "notes"}), false),
    ] {
        assert_eq!(
            of_token(&strict, &claims(more.clone())).is_ok(),
            expected,
            "{more}"
        );
    }
}

#[test]
fn the_claim_is_a_key() {
    let resolver = hs256();
    let of_claim = |tenant: Value| {
        of_token(
            &resolver,
            &good(&json!({"tenant": tenant, "exp": now() + 100})),
        )
    };
    assert_eq!(of_claim(json!("acme")), ok("acme"));
    for hostile in HOSTILE.iter().chain(&["Acme", "acme\0", "acme\n"]) {
        assert_eq!(of_claim(json!(hostile)), Err(401), "{hostile:?}");
    }
    for other in [
        json!(1),
        json!(null),
        json!(["acme"]),
        json!({"acme": 1}),
        json!(true),
    ] {
        assert_eq!(of_claim(other.clone()), Err(401), "{other}");
    }
    let missing = good(&json!({"Tenant": "acme", "exp": now() + 100}));
    assert_eq!(of_token(&resolver, &missing), Err(401));
}

#[test]
fn a_token_is_sent_once_as_a_bearer() {
    let resolver = hs256();
    let token = good(&json!({"tenant": "acme", "exp": now() + 100}));
    let bearer = format!("Bearer {token}");
    for good in [
        &bearer,
        &format!("bearer {token}"),
        &format!("BEARER  {token}"),
    ] {
        assert_eq!(of(&resolver, &[good]), ok("acme"));
    }
    assert_eq!(of(&resolver, &[]), Err(401));
    assert_eq!(of(&resolver, &[&bearer, &bearer]), Err(400));
    assert_eq!(of(&resolver, &["Bearer é"]), Err(400));
    for wrong in [
        "".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token} "),
        format!("Bearer {token},{bearer}"),
        format!("Bearer {token}="),
        format!("Bearer {}", "x".repeat(10_000)),
        token.clone(),
        format!("{bearer}.x"),
    ] {
        assert_eq!(of(&resolver, &[&wrong]), Err(401), "{wrong}");
    }
}

#[test]
fn keys_can_be_replaced_and_must_fit() {
    let old = [b'x'; 32];
    let both = claim("HS256", &[SECRET, &old], "").expect("secrets");
    let claims = json!({"tenant": "acme", "exp": now() + 100}).to_string();
    for secret in [SECRET, &old] {
        let token = signed(&json!({"alg": "HS256"}), &claims, hmac(secret));
        assert_eq!(of_token(&both, &token), ok("acme"));
    }
    // The end of the line is no part of it.
    let with_end = claim("HS256", &[&[SECRET, b"\n"].concat()], "").expect("a secret");
    let token = signed(&json!({"alg": "HS256"}), &claims, hmac(SECRET));
    assert_eq!(of_token(&with_end, &token), ok("acme"));
    let ed = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let (public, private) = (ed.public_key_pem(), ed.serialize_pem());
    for (algorithm, key) in [
        ("HS256", &b"short"[..]),
        ("HS256", b""),
        ("HS256", public.as_bytes()),
        ("HS256", RSA.as_bytes()),
        ("EdDSA", private.as_bytes()),
        ("EdDSA", RSA.as_bytes()),
        ("EdDSA", SECRET),
        ("ES256", public.as_bytes()),
        ("RS256", public.as_bytes()),
        ("RS256", SHORT_RSA.as_bytes()),
        ("RS256", b""),
        ("HS256", &[b'x'; 100_000]),
    ] {
        let error = claim(algorithm, &[key], "").expect_err(algorithm);
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
    let shown = format!("{both:?}");
    assert!(!shown.contains("0123456789abcdef"));
}
