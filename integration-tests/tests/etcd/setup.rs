//! Which etcd a case runs on.

use callsign_integration_tests::Pool;
use callsign_integration_tests::etcd::{Etcd, Options, Version};
use callsign_testkit::suite::{CaseResult, Stop};

use crate::stage::Stage;

/// A way to set an etcd up, and where running ones come from.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pool: Pool<Etcd>,
    options: Options,
}

impl Setup {
    pub(crate) fn new(pool: &Pool<Etcd>, options: Options) -> Self {
        Self { pool: pool.clone(), options }
    }

    /// The same with something else.
    pub(crate) fn with(&self, change: impl FnOnce(Options) -> Options) -> Self {
        Self { pool: self.pool.clone(), options: change(self.options.clone()) }
    }

    pub(crate) fn pool(&self) -> &Pool<Etcd> {
        &self.pool
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn version(&self) -> Version {
        self.options.version
    }

    /// An etcd of the case's own.
    pub(crate) async fn stage(&self) -> CaseResult<Stage> {
        self.installed()?;
        Ok(Stage::new(self.pool.take(&self.options).await?))
    }

    /// As [`stage`](Self::stage), while no other case runs: for what is measured.
    pub(crate) async fn stage_alone(&self) -> CaseResult<Stage> {
        self.installed()?;
        Ok(Stage::new(self.pool.take_alone(&self.options).await?))
    }

    /// Ends the case as ignored where this version is not installed.
    pub(crate) fn installed(&self) -> CaseResult {
        self.version().program().map(drop).map_err(Stop::Missing)
    }
}

/// Has a subject prove what functions do with a set-up. Each case is named after its function and stands with the
/// others of its module.
macro_rules! prove {
    ($subject:expr, $setup:expr, $($module:ident :: $case:ident, $promise:literal;)+) => {{
        let subject = $subject;
        $(
            let setup = $setup.clone();
            let subject = subject
                .proves(stringify!($module), stringify!($case), $promise, move || $module::$case(setup.clone()));
        )+
        subject
    }};
}
pub(crate) use prove;
