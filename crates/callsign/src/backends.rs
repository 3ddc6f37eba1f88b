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

    #[cfg(feature = "failover")]
    let factories = factories.with(callsign_failover::factory());
    #[cfg(not(feature = "failover"))]
    let factories = factories.with_disabled("failover", "failover");

    #[cfg(feature = "memory")]
    let factories = factories.with(callsign_memory::factory());
    #[cfg(not(feature = "memory"))]
    let factories = factories.with_disabled("memory", "memory");

    #[cfg(feature = "nacos")]
    let factories = factories.with(callsign_nacos::factory());
    #[cfg(not(feature = "nacos"))]
    let factories = factories.with_disabled("nacos", "nacos");

    #[cfg(feature = "zookeeper")]
    let factories = factories.with(callsign_zookeeper::factory());
    #[cfg(not(feature = "zookeeper"))]
    let factories = factories.with_disabled("zookeeper", "zookeeper");

    factories
}
