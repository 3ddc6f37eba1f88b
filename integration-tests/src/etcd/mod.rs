//! etcd: one member or three, with TLS, with users, with the ways between them in our hands.

mod access;
mod cluster;
mod faults;
mod harness;
mod keys;
mod member;
mod options;
mod raw;
mod version;

pub use access::{NAMESPACES, PREFIX};
pub use cluster::Etcd;
pub use harness::{EtcdHarness, config};
pub use member::Member;
pub use options::{Options, Tls, Tokens};
pub use raw::Login;
pub use version::Version;
