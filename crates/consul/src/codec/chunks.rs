//! Long texts and odd pairs as values that Consul takes: at most 512 bytes each.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

/// The longest value that Consul takes.
pub(super) const VALUE: usize = 512;
/// A length of a value that stands for "in the next two bytes".
const LONG: u8 = 255;

/// Puts `text` into `meta`, in chunks under `prefix0`, `prefix1`, ... How many there are.
pub(super) fn put(meta: &mut BTreeMap<String, String>, prefix: &str, text: &str) -> usize {
    let (mut rest, mut count) = (text, 0);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.floor_char_boundary(VALUE));
        meta.insert(format!("{prefix}{count}"), chunk.to_owned());
        (rest, count) = (behind, count + 1);
    }
    count
}

/// What was put under `prefix`; `None` if nothing was.
pub(super) fn take(meta: &BTreeMap<String, String>, prefix: &str) -> Option<String> {
    let chunks = (0..).map_while(|n| meta.get(&format!("{prefix}{n}")));
    let text: String = chunks.map(String::as_str).collect();
    (!text.is_empty()).then_some(text)
}

/// Any pairs in one text. Lengths stand before the bytes, so that it grows by no more than it is bound to.
pub(super) fn pack<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        // Longer ones do not get here: keys have at most 255 bytes, and all of the metadata has a limit.
        bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        bytes.extend(key.bytes().take(usize::from(u8::MAX)));
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        match u8::try_from(length) {
            Ok(short) if short < LONG => bytes.push(short),
            _ => {
                bytes.push(LONG);
                bytes.extend(length.to_be_bytes());
            }
        }
        bytes.extend(value.bytes().take(usize::from(length)));
    }
    BASE64.encode(bytes)
}

/// The pairs in `text`; `None` if they were not packed here.
pub(super) fn unpack(text: &str) -> Option<Vec<(String, String)>> {
    let bytes = BASE64.decode(text).ok()?;
    let mut rest = &*bytes;
    let mut pairs = Vec::new();
    while let Some((&length, behind)) = rest.split_first() {
        let (key, behind) = behind.split_at_checked(usize::from(length))?;
        let (&length, behind) = behind.split_first()?;
        let (length, behind) = if length == LONG {
            let (length, behind) = behind.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), behind)
        } else {
            (usize::from(length), behind)
        };
        let (value, behind) = behind.split_at_checked(length)?;
        pairs.push((String::from_utf8(key.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?));
        rest = behind;
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let mut meta = BTreeMap::new();
        let text = "é".repeat(300);
        assert_eq!(put(&mut meta, "x", &text), 2);
        assert!(meta.values().all(|value| value.len() <= VALUE));
        assert_eq!(take(&meta, "x"), Some(text));
        assert_eq!(take(&meta, "y"), None);
    }

    proptest! {
        #[test]
        fn packed_pairs_come_back(pairs in proptest::collection::vec(("\\PC{0,20}", "(?s).{0,400}"), 0..6)) {
            let borrowed = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
            prop_assert_eq!(unpack(&pack(borrowed)), Some(pairs));
        }

        #[test]
        fn garbage_never_panics(text in "[A-Za-z0-9_-]{0,60}") {
            let _ = unpack(&text);
        }
    }
}
