//! How the suites reach the toy, and hurt it.

use std::sync::Arc;

use callsign_core::{Backend, Capabilities, InstanceKey, Result, async_trait};
use callsign_testkit::{Guard, Harness};

use super::{Server, Toy};

#[derive(Default)]
pub(crate) struct ToyHarness(pub(crate) Arc<Server>);

#[async_trait]
impl Harness for ToyHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Toy::new(self.0.clone())))
    }

    fn capabilities(&self) -> Capabilities {
        Toy::capabilities()
    }

    fn paused(&self) -> bool {
        true
    }

    async fn outage(&self) -> Result<Guard> {
        self.0.set_down(true);
        let server = self.0.clone();
        Ok(Guard::new(move || server.set_down(false)))
    }

    async fn wipe(&self) -> Result<()> {
        self.0.wipe();
        Ok(())
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.0.delete(key);
        Ok(())
    }
}
