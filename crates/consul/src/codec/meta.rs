//! What stands in a service's Meta.

use std::collections::BTreeMap;

use callsign_core::{Error, Instance, Metadata, Pair, Result, Weight};

use super::chunks;

/// What the keys of callsign begin with. Dots, as elsewhere, are not taken.
pub(super) const RESERVED: &str = "callsign-";
pub(crate) const PAIR: &str = "callsign-pair";
pub(super) const STATUS: &str = "callsign-status";
pub(super) const REGISTERED_AT: &str = "callsign-registered-at";
pub(super) const WEIGHT: &str = "callsign-weight";
pub(super) const VERSION: &str = "callsign-version";
pub(super) const REGION: &str = "callsign-region";
pub(super) const ZONE: &str = "callsign-zone";
pub(super) const ENDPOINTS: &str = "callsign-e";
pub(super) const PACKED: &str = "callsign-x";

/// The most bytes that metadata may have. However odd, so much fits packed into 43 values.
pub(crate) const MAX_METADATA: usize = 8192;
/// Consul takes no more pairs.
const MAX_PAIRS: usize = 64;
/// Seven keys of our own, and 4 KiB of endpoints.
const MAX_OWN: usize = 7 + MAX_ENDPOINTS;
const MAX_ENDPOINTS: usize = 8;
const MAX_KEY: usize = 128;

/// The Meta of `instance`.
///
/// # Errors
/// `LimitExceeded`: metadata, endpoints, region or zone larger than Consul takes.
pub(super) fn encode(instance: &Instance) -> Result<BTreeMap<String, String>> {
    let refuse = |what: &str, size: usize, limit: usize| {
        let key = &instance.key;
        Error::limit_exceeded(format!("the {what} of {key} takes {size} bytes: up to {limit} are allowed"))
    };
    let bytes = instance.metadata.byte_len();
    if bytes > MAX_METADATA {
        return Err(refuse("metadata", bytes, MAX_METADATA));
    }
    let mut meta = BTreeMap::new();
    let mut own = |key: &str, value: String| meta.insert(key.to_owned(), value);
    own(PAIR, instance.pair().to_string());
    own(STATUS, instance.status.as_str().to_owned());
    own(REGISTERED_AT, super::registration::nanos(instance.registered_at).to_string());
    if instance.weight == Weight::ZERO {
        own(WEIGHT, instance.weight.to_string());
    }
    if let Some(version) = &instance.version {
        own(VERSION, version.as_str().to_owned());
    }
    let locality = &instance.locality;
    for (key, what, place) in [(REGION, "region", &locality.region), (ZONE, "zone", &locality.zone)] {
        if let Some(place) = place {
            if place.len() > chunks::VALUE {
                return Err(refuse(what, place.len(), chunks::VALUE));
            }
            own(key, place.to_string());
        }
    }
    let endpoints: Vec<_> = instance.endpoints.iter().map(ToString::to_string).collect();
    let endpoints = endpoints.join(" ");
    if chunks::put(&mut meta, ENDPOINTS, &endpoints) > MAX_ENDPOINTS {
        return Err(refuse("list of endpoints", endpoints.len(), MAX_ENDPOINTS * chunks::VALUE));
    }
    add(&mut meta, &instance.metadata);
    Ok(meta)
}

/// Adds metadata: plain where Consul takes it, so that others can read it, and packed where it does not.
fn add(meta: &mut BTreeMap<String, String>, metadata: &Metadata) {
    let (plain, odd): (Vec<_>, Vec<_>) =
        metadata.iter().partition(|(key, value)| is_plain(key) && value.len() <= chunks::VALUE);
    let packed = chunks::pack(odd);
    if meta.len().max(MAX_OWN) + plain.len() + packed.len().div_ceil(chunks::VALUE) <= MAX_PAIRS {
        meta.extend(plain.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        chunks::put(meta, PACKED, &packed);
    } else {
        chunks::put(meta, PACKED, &chunks::pack(metadata.iter()));
    }
}

fn is_plain(key: &str) -> bool {
    let taken = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    key.len() <= MAX_KEY
        && key.bytes().all(taken)
        && !key.starts_with(RESERVED)
        // Consul's own.
        && !key.starts_with("consul-")
}

/// The metadata in `meta`, written by callsign; or what is wrong with it.
pub(super) fn decode(meta: &BTreeMap<String, String>) -> Result<Metadata, &'static str> {
    let plain = meta.iter().filter(|(key, _)| !key.starts_with(RESERVED));
    let plain = plain.map(|(key, value)| (key.clone(), value.clone()));
    let odd = match chunks::take(meta, PACKED) {
        None => Vec::new(),
        Some(text) => chunks::unpack(&text).ok_or("its packed metadata cannot be read")?,
    };
    Ok(Metadata::from_remote(plain.chain(odd)))
}

/// The pair in `meta`; [`Pair::NONE`] where there is none that callsign has written.
pub(crate) fn pair_of(meta: Option<&BTreeMap<String, String>>) -> Pair {
    meta.and_then(|meta| meta.get(PAIR)).and_then(|text| parse_pair(text)).unwrap_or(Pair::NONE)
}

pub(super) fn parse_pair(text: &str) -> Option<Pair> {
    let (incarnation, seq) = text.split_once('.')?;
    let pair = Pair::new(incarnation.parse().ok()?, seq.parse().ok()?);
    (pair.to_string() == text).then_some(pair)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(metadata: Metadata) -> Result<BTreeMap<String, String>> {
        let builder = Instance::builder("orders").id("o-1").endpoint("http://h:1").version("1");
        encode(&builder.all_metadata(metadata).build().unwrap())
    }

    #[test]
    fn plain_metadata_can_be_read_by_others_and_the_rest_is_packed() {
        let pairs = [("colour", "blue"), ("a.b", "dotted"), ("callsign-pair", "mine"), ("consul-x", "y")];
        let metadata = Metadata::from_entries(pairs).unwrap();
        let meta = encoded(metadata.clone()).unwrap();
        assert_eq!(meta.get("colour").map(String::as_str), Some("blue"));
        assert!(!meta.contains_key("a.b") && !meta.contains_key("consul-x"));
        assert_ne!(meta.get(PAIR).map(String::as_str), Some("mine"));
        assert_eq!(decode(&meta).unwrap(), metadata);
    }

    #[test]
    fn what_consul_would_refuse_is_refused_before() {
        let metadata = Metadata::from_entries([("k", "v".repeat(MAX_METADATA))]).unwrap();
        assert_eq!(
            encoded(metadata).unwrap_err().to_string(),
            "limit exceeded: the metadata of default/default/orders#o-1 takes 8193 bytes: up to 8192 are allowed"
        );
        let endpoints = (0..200).map(|n| format!("http://host-{n}.example:80").parse().unwrap());
        let many = Instance::builder("orders").id("o-1").endpoints(endpoints).build().unwrap();
        let error = encode(&many).unwrap_err().to_string();
        assert!(error.contains("the list of endpoints of default/default/orders#o-1 takes"), "{error}");
    }

    #[test]
    fn the_most_metadata_fits_whatever_it_is() {
        // Short keys without values need the most room for lengths.
        let short = (0..).map(|n| format!("{:02x}", n + 32)).take(MAX_METADATA / 2);
        let short: std::collections::BTreeSet<_> = short.filter(|key| key.len() == 2).collect();
        let long = (0..32).map(|n| (format!("{n:03}."), "\0".repeat(252)));
        let fill = (0..MAX_METADATA / 4).map(|n| (format!("{n:04}"), String::new()));
        let short = short.into_iter().map(|key| (key, String::new()));
        for pairs in [short.collect::<Vec<_>>(), long.collect(), fill.collect()] {
            let metadata = Metadata::from_entries(pairs).unwrap();
            assert!(metadata.byte_len() <= MAX_METADATA);
            let meta = encoded(metadata.clone()).unwrap();
            assert!(meta.len() <= MAX_PAIRS, "{}", meta.len());
            assert_eq!(decode(&meta).unwrap(), metadata);
        }
    }

    #[test]
    fn a_pair_is_one_or_none() {
        for text in ["", "1", "1.", ".1", "01.2", "1.2.3", "-1.2", "18446744073709551616.0"] {
            assert_eq!(parse_pair(text), None, "{text}");
        }
        assert_eq!(parse_pair("18446744073709551615.0"), Some(Pair::new(u64::MAX, 0)));
    }

    proptest! {
        // Each is a page of text.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn metadata_comes_back_and_consul_takes_it(
            pairs in proptest::collection::vec(("[-a-z.]{1,20}|\\PC{1,60}", "\\PC{0,40}|[a-z]{500,600}"), 0..70)
        ) {
            let metadata = Metadata::from_entries(pairs).unwrap();
            if let Ok(meta) = encoded(metadata.clone()) {
                prop_assert!(meta.len() <= MAX_PAIRS);
                for (key, value) in &meta {
                    prop_assert!(key.len() <= MAX_KEY && value.len() <= chunks::VALUE);
                    prop_assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
                    prop_assert!(!key.starts_with("consul-"));
                }
                prop_assert_eq!(decode(&meta).unwrap(), metadata);
            } else {
                prop_assert!(metadata.byte_len() > MAX_METADATA);
            }
        }
    }
}
