//! Where an instance runs.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Region and zone of an instance; either may be unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Locality {
    /// The region, such as `eu-west-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Arc<str>>,
    /// The zone within the region, such as `eu-west-1a`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
}

impl Locality {
    /// Nowhere known.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// The same place in `region`; an empty text means unknown.
    #[must_use]
    pub fn with_region(mut self, region: impl AsRef<str>) -> Self {
        self.region = some(region.as_ref());
        self
    }

    /// The same place in `zone`; an empty text means unknown.
    #[must_use]
    pub fn with_zone(mut self, zone: impl AsRef<str>) -> Self {
        self.zone = some(zone.as_ref());
        self
    }
}

fn some(text: &str) -> Option<Arc<str>> {
    (!text.is_empty()).then(|| Arc::from(text))
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Option<Arc<str>>| part.as_deref().unwrap_or("-").to_owned();
        write!(f, "{}/{}", part(&self.region), part(&self.zone))
    }
}
