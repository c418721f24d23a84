//! The trace that a client's request belongs to (<https://www.w3.org/TR/trace-context/>).

use http::HeaderMap;
use ring::rand::{SecureRandom, SystemRandom};

/// The size of a `tracestate` that must be passed on, in bytes. A longer one is dropped.
const MAX_STATE: usize = 512;

/// The client's span, by the header `traceparent`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// The header `tracestate`.
    pub(super) state: Option<String>,
    /// Whether the client records its part of the trace.
    pub(super) is_recorded: bool,
}

impl Parent {
    /// `None` if the header is missing, repeated or malformed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Parent> {
        let mut all = headers.get_all("traceparent").iter();
        let (Some(header), None) = (all.next(), all.next()) else {
            return None;
        };
        let mut parent = Parent::parse(header.as_bytes())?;
        let states: Option<Vec<_>> = headers
            .get_all("tracestate")
            .iter()
            .map(|state| state.to_str().ok())
            .collect();
        parent.state = states
            .map(|states| states.join(","))
            .filter(|state| !state.is_empty() && state.len() <= MAX_STATE);
        Some(parent)
    }

    fn parse(header: &[u8]) -> Option<Parent> {
        let (version, rest) = header.split_at_checked(2)?;
        let [version] = from_hex(version)?;
        let [b'-', trace @ ..] = rest else {
            return None;
        };
        let (trace, rest) = trace.split_at_checked(32)?;
        let [b'-', span @ ..] = rest else { return None };
        let (span, rest) = span.split_at_checked(16)?;
        let [b'-', flags @ ..] = rest else {
            return None;
        };
        let (flags, rest) = flags.split_at_checked(2)?;
        let [flags] = from_hex(flags)?;
        // Later versions may append fields.
        let is_whole = rest.is_empty() || (version > 0 && rest[0] == b'-');
        let (trace, span) = (from_hex(trace)?, from_hex(span)?);
        let is_valid = version != 0xff && trace != [0; 16] && span != [0; 8];
        (is_whole && is_valid).then_some(Parent {
            trace,
            span,
            state: None,
            is_recorded: flags & 1 == 1,
        })
    }
}

/// Decode hexadecimal digits in lower case.
fn from_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Random bytes, not all of them 0.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // If the system has no random numbers, all traces get the same ID.
    let filled = SystemRandom::new().fill(&mut bytes);
    if filled.is_err() || bytes == [0; N] {
        bytes = [1; N];
    }
    bytes
}

/// Map each number to a different one that looks random (SplitMix64).
pub(super) fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(header: &str) -> Option<bool> {
        Parent::parse(header.as_bytes()).map(|parent| parent.is_recorded)
    }

    #[test]
    fn traceparents_are_read() {
        let parent = Parent::parse(GOOD.as_bytes()).expect("one");
        assert_eq!(parent.trace[..2], [0x0a, 0xf7]);
        assert_eq!(
            parent.span,
            [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]
        );
        assert_eq!(parse(GOOD), Some(true));
        assert_eq!(parse(&GOOD.replace("-01", "-00")), Some(false));
        let later = GOOD.replace("00-0", "cc-0");
        assert_eq!(parse(&later), Some(true));
        assert_eq!(parse(&format!("{later}-what")), Some(true));
        for wrong in [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!("{GOOD}-"),
            format!("{later}what"),
            GOOD.to_uppercase(),
            GOOD.replace("00-0", "ff-0"),
            GOOD.replace("00-0", "00_0"),
            GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad", "b7é"),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_has_one_parent_or_none() {
        let mut headers = HeaderMap::new();
        headers.append("traceparent", GOOD.parse().expect("a header"));
        headers.append("tracestate", "a=1".parse().expect("a header"));
        headers.append("tracestate", "b=2".parse().expect("a header"));
        let parent = Parent::of(&headers).expect("one");
        assert_eq!(parent.state.as_deref(), Some("a=1,b=2"));
        headers.append(
            "tracestate",
            "c".repeat(MAX_STATE).parse().expect("a header"),
        );
        assert_eq!(Parent::of(&headers).expect("one").state, None);
        headers.append("traceparent", GOOD.parse().expect("a header"));
        assert_eq!(Parent::of(&headers), None);
    }
}
