//! The messages, written down a second time: what the backend believes of them is not taken for granted here.

use std::collections::HashMap;

use serde_json::Value;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(super) body: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "3")]
    pub(super) kind: String,
    #[prost(map = "string, string", tag = "7")]
    pub(super) headers: HashMap<String, String>,
    #[prost(string, tag = "8")]
    pub(super) client_ip: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

impl Payload {
    pub(super) fn new(kind: &str, json: &Value) -> Self {
        let metadata = Metadata { kind: kind.to_owned(), ..Metadata::default() };
        let body = Any { type_url: String::new(), value: json.to_string().into_bytes() };
        Self { metadata: Some(metadata), body: Some(body) }
    }

    pub(super) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| metadata.kind.as_str())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.metadata.as_ref()?.headers.get("accessToken").map(String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        let bytes = self.body.as_ref().map_or(&[][..], |body| &body.value);
        serde_json::from_slice(bytes).unwrap_or_default()
    }
}
