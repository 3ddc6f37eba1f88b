//! What a case needs of a registry.

use callsign_core::Capabilities;

/// Something that a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// A write refuses to overwrite a higher pair.
    CompareAndSet,
    /// One client can remove what another has registered.
    RemovesOthers,
    /// There are namespaces other than `default`.
    Namespaces,
    /// There are groups other than `default`.
    Groups,
    /// Services can be listed.
    Services,
    /// Metadata has a limit.
    MetadataLimit,
    /// Nobody else uses the registry meanwhile: the case hurts it.
    Alone,
}

impl Need {
    /// Whether a registry of these capabilities has it.
    #[must_use]
    pub fn is_met_by(self, capabilities: &Capabilities) -> bool {
        match self {
            Self::CompareAndSet => capabilities.compare_and_set,
            Self::RemovesOthers => capabilities.removes_others,
            Self::Namespaces => capabilities.namespaces,
            Self::Groups => capabilities.groups,
            Self::Services => capabilities.services,
            Self::MetadataLimit => capabilities.max_metadata_bytes.is_some(),
            Self::Alone => true,
        }
    }
}
