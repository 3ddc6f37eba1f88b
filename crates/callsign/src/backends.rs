//! The registries that can be compiled in.

use callsign_core::Factories;

/// The factories of all compiled-in types; of the others, the feature to switch on.
pub(crate) fn compiled_in() -> Factories {
    let factories = Factories::new();

    #[cfg(feature = "consul")]
    let factories = factories.with(callsign_consul::factory());
    #[cfg(not(feature = "consul"))]
    let factories = factories.with_disabled("consul", "consul");

    #[cfg(feature = "etcd")]
    let factories = factories.with(callsign_etcd::factory());
    #[cfg(not(feature = "etcd"))]
    let factories = factories.with_disabled("etcd", "etcd");

    #[cfg(feature = "memory")]
    let factories = factories.with(callsign_memory::factory());
    #[cfg(not(feature = "memory"))]
    let factories = factories.with_disabled("memory", "memory");

    factories
}
