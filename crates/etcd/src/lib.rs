#![doc = include_str!("../README.md")]

/// The registry's type in a configuration and the scheme of its URLs.
pub const TYPE: &str = "etcd";
