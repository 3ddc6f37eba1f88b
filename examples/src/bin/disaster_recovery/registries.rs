//! The two registries, and what befalls the first of them.

use anyhow::Result;
use callsign_memory::{Fault, FaultGuard, Store};

/// Two registries: embedded ones, or servers.
pub(crate) enum Registries {
    /// Inside this process, and told to break.
    Embedded { main: Store, _backup: Store },
    /// Processes of their own, which are killed and stopped.
    #[cfg(feature = "servers")]
    Servers(servers::Servers),
}

/// What has befallen the first registry, until it is healed.
pub(crate) enum Trouble {
    Embedded(FaultGuard),
    #[cfg(feature = "servers")]
    Servers(callsign_testkit::Guard),
}

impl Trouble {
    pub(crate) async fn heal(self) -> Result<()> {
        match self {
            Self::Embedded(fault) => fault.heal(),
            #[cfg(feature = "servers")]
            Self::Servers(guard) => guard.heal().await?,
        }
        Ok(())
    }
}

impl Registries {
    pub(crate) fn embedded() -> Self {
        // Kept here, so that they are there before anybody asks for them, and after.
        Self::Embedded { main: Store::named("main"), _backup: Store::named("backup") }
    }

    #[cfg(feature = "servers")]
    pub(crate) async fn servers() -> Result<Self> {
        Ok(Self::Servers(servers::Servers::start().await?))
    }

    #[cfg(not(feature = "servers"))]
    #[expect(clippy::unused_async, reason = "with the feature they are waited for")]
    pub(crate) async fn servers() -> Result<Self> {
        anyhow::bail!("this program cannot start servers: build it with `--features servers`")
    }

    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Embedded { .. } => "Two embedded registries",
            #[cfg(feature = "servers")]
            Self::Servers(_) => "An etcd and a ZooKeeper",
        }
    }

    /// The `callsign.toml` of everybody here.
    pub(crate) fn configuration(&self) -> String {
        let [main, backup] = match self {
            Self::Embedded { .. } => [
                "type = \"memory\"\nstore = \"main\"".to_owned(),
                "type = \"memory\"\nstore = \"backup\"".to_owned(),
            ],
            #[cfg(feature = "servers")]
            Self::Servers(servers) => servers.tables(),
        };
        format!(
            "registry = \"orders-dr\"\n\n\
             [registries.orders-dr]\ntype = \"failover\"\nmembers = [\"main\", \"backup\"]\n\n\
             [registries.main]\n{main}\n\n\
             [registries.backup]\n{backup}\n"
        )
    }

    /// The first registry is killed: connections break, and new ones are refused.
    pub(crate) async fn kill(&self) -> Result<Trouble> {
        Ok(match self {
            Self::Embedded { main, .. } => Trouble::Embedded(main.inject(Fault::Unavailable)),
            #[cfg(feature = "servers")]
            Self::Servers(servers) => Trouble::Servers(servers.main.kill_all().await?),
        })
    }

    /// The first registry is frozen: connections stay, and nothing answers.
    pub(crate) async fn freeze(&self) -> Result<Trouble> {
        Ok(match self {
            Self::Embedded { main, .. } => Trouble::Embedded(main.inject(Fault::Frozen)),
            #[cfg(feature = "servers")]
            Self::Servers(servers) => Trouble::Servers(servers.main.freeze_all().await?),
        })
    }

    /// The first registry loses everything that it has.
    pub(crate) async fn wipe(&self) -> Result<()> {
        match self {
            Self::Embedded { main, .. } => main.wipe(),
            #[cfg(feature = "servers")]
            Self::Servers(servers) => servers.main.wipe().await?,
        }
        Ok(())
    }
}

#[cfg(feature = "servers")]
mod servers {
    use std::sync::Arc;

    use anyhow::Result;
    use callsign_integration_tests::etcd::{self, Etcd};
    use callsign_integration_tests::zookeeper::{self, ZooKeeper};

    pub(crate) struct Servers {
        pub(crate) main: Arc<Etcd>,
        backup: Arc<ZooKeeper>,
    }

    impl Servers {
        pub(crate) async fn start() -> Result<Self> {
            let main = Etcd::start(etcd::Options::new(etcd::Version::V3_5)).await?;
            let backup = ZooKeeper::start(zookeeper::Options::new(zookeeper::Version::V3_9)).await?;
            Ok(Self { main, backup })
        }

        pub(crate) fn tables(&self) -> [String; 2] {
            [
                format!("type = \"etcd\"\nendpoints = {:?}", self.main.endpoints()),
                format!("type = \"zookeeper\"\nservers = {:?}", self.backup.endpoints()),
            ]
        }
    }
}
