//! What is registered and found: names, endpoints, instances, and the listings they come in.

mod document;
mod endpoint;
mod instance;
mod listing;
mod locality;
mod metadata;
mod names;
mod record;
mod status;
mod version;
mod weight;

pub use document::Document;
pub use endpoint::{Endpoint, Endpoints};
pub(crate) use endpoint::{check_host, parse_port, split_host_port};
pub use instance::{Instance, InstanceBuilder, Pair};
pub use listing::{Authority, Listing, Read, Skipped, WatchEvent};
pub use locality::Locality;
pub use metadata::{Metadata, RESERVED_PREFIX};
pub use names::{Group, InstanceId, InstanceKey, Namespace, ServiceKey, ServiceName};
pub use record::{Record, Ttl};
pub use status::{Health, Status};
pub use version::Version;
pub use weight::Weight;
