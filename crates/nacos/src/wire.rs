//! What travels in a gRPC message: `nacos_grpc_service.proto`, by hand, so that nobody needs a protobuf compiler.

use std::collections::HashMap;
use std::fmt;

use prost::bytes::Bytes;

/// A unary call.
pub(crate) const REQUEST: &str = "/Request/request";
/// The stream on which the server speaks, too.
pub(crate) const STREAM: &str = "/BiRequestStream/requestBiStream";
/// The header that carries who is logged in.
const TOKEN: &str = "accessToken";

/// A message either way.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(crate) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(crate) body: Option<Any>,
}

/// Which message it is, and for whom.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Metadata {
    #[prost(string, tag = "3")]
    pub(crate) r#type: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(crate) client_ip: String,
}

/// `google.protobuf.Any`, which holds JSON here.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

impl Payload {
    /// The message of that type with `json` in it, from whoever has `token`.
    pub(crate) fn new(r#type: &str, json: Vec<u8>, token: Option<&str>) -> Self {
        let headers = token.map(|token| (TOKEN.to_owned(), token.to_owned())).into_iter().collect();
        let metadata = Metadata { r#type: r#type.to_owned(), headers, client_ip: String::new() };
        Self { metadata: Some(metadata), body: Some(Any { type_url: String::new(), value: json.into() }) }
    }

    /// Which message it is: the simple name of a class.
    pub(crate) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.r#type)
    }

    /// The JSON in it.
    pub(crate) fn json(&self) -> &[u8] {
        self.body.as_ref().map_or(&[], |body| &body.value)
    }

    /// The JSON in it.
    pub(crate) fn into_json(self) -> Bytes {
        self.body.map(|body| body.value).unwrap_or_default()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the headers: a token is among them.
        f.debug_struct("Metadata").field("type", &self.r#type).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_servers_expect_and_shows_no_token() {
        let payload = Payload::new("HealthCheckRequest", b"{}".to_vec(), Some("hunter2"));
        assert!(!format!("{payload:?}").contains("hunter2"));
        let plain = Payload::new("X", b"{}".to_vec(), None);
        // 2: {3: "X"}, 3: {2: "{}"}
        assert_eq!(plain.encode_to_vec(), [0x12, 3, 0x1a, 1, b'X', 0x1a, 4, 0x12, 2, b'{', b'}']);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(kind in "[A-Za-z]{0,20}", json in prop::collection::vec(any::<u8>(), 0..50), token in prop::option::of("\\PC{0,9}")) {
            let payload = Payload::new(&kind, json.clone(), token.as_deref());
            let read = Payload::decode(payload.encode_to_vec().as_slice()).unwrap();
            prop_assert_eq!(read.kind(), kind);
            prop_assert_eq!(read.json(), json);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(payload) = Payload::decode(bytes.as_slice()) {
                let _ = (payload.kind().len(), payload.json().len());
            }
        }
    }
}
