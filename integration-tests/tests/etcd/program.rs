//! A program and its configuration file: what it hears when that does not fit its registry.

use std::path::Path;
use std::time::Duration;

use callsign::{Callsign, RegisterOptions};
use callsign_core::{Backend, Error, ErrorKind, Probe, Read, ServiceKey};
use callsign_etcd::EtcdConfig;
use callsign_testkit::suite::{CaseResult, Stop, chain};
use tokio::time::{Instant, timeout};

use crate::ensure;
use crate::stage::CALL;

/// How long a program waits for its first registration here.
const WAIT: Duration = Duration::from_secs(6);

/// What a program is configured with: the table of its one registry.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    endpoints: Vec<String>,
    keys: Vec<(&'static str, String)>,
    tls: Vec<(&'static str, String)>,
    namespace: String,
}

impl Configured {
    pub(crate) fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Self { endpoints, keys: Vec::new(), tls: Vec::new(), namespace: "default".to_owned() }
    }

    /// As the tests' own clients are.
    pub(crate) fn like(config: &EtcdConfig) -> Self {
        let mut configured = Self::new(&config.endpoints);
        if let (Some(user), Some(password)) = (&config.username, &config.password) {
            configured = configured.with("username", user).with("password", password.expose());
        }
        let tls = config.tls.clone().unwrap_or_default();
        for (key, file) in
            [("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)]
        {
            if let Some(file) = file {
                configured = configured.with_tls(key, file.display().to_string());
            }
        }
        configured
    }

    /// Sets a key of the table.
    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.keys.retain(|(other, _)| *other != key);
        self.keys.push((key, value.into()));
        self
    }

    /// Sets a key of its table `tls`.
    pub(crate) fn with_tls(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.tls.retain(|(other, _)| *other != key);
        self.tls.push((key, value.into()));
        self
    }

    /// Leaves keys of its table `tls` out.
    pub(crate) fn without_tls(mut self, keys: &[&str]) -> Self {
        self.tls.retain(|(key, _)| !keys.contains(key));
        self
    }

    pub(crate) fn within(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    fn toml(&self) -> String {
        let lines = |keys: &[(&str, String)]| {
            keys.iter().map(|(key, value)| format!("{key} = {value:?}")).collect::<Vec<_>>().join("\n")
        };
        let Self { endpoints, keys, tls, namespace } = self;
        let table = if tls.is_empty() { "" } else { "[registries.main.tls]\n" };
        format!(
            "registry = \"main\"\nnamespace = {namespace:?}\n\n[registries.main]\ntype = \"etcd\"\nendpoints = \
             {endpoints:?}\n{}\n{table}{}",
            lines(keys),
            lines(tls)
        )
    }

    /// Writes the configuration file.
    pub(crate) fn write(&self, file: &Path) -> CaseResult {
        std::fs::write(file, self.toml())
            .map_err(|error| Stop::failed(format!("no configuration file: {error}")))
    }

    /// The program's handle.
    pub(crate) fn load(&self) -> CaseResult<Callsign> {
        let failed = |error: std::io::Error| Stop::failed(format!("no configuration file: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let file = folder.path().join("callsign.toml");
        self.write(&file)?;
        let nothing: [(&str, &str); 0] = [];
        Ok(Callsign::builder().file(file).environment(nothing).build()?)
    }

    /// The program registers, lists, views and probes, and all of it works.
    pub(crate) async fn works(&self) -> CaseResult {
        let callsign = self.load()?;
        let instance = callsign.instance("orders").endpoint("http://127.0.0.1:1").build()?;
        let registration =
            callsign.register_with(instance, RegisterOptions::new().required().with_wait(WAIT)).await?;
        let view = callsign.service("orders")?;
        let seen =
            view.wait_for(CALL, |snapshot| snapshot.get(registration.key().id.as_str()).is_some()).await;
        seen?;
        callsign.backend().probe(Probe::Authority).await?;
        Ok(callsign.close(Duration::from_secs(3)).await?)
    }

    /// Whatever the program tries is refused in time with an error of one of `kinds` that says all of `says`.
    pub(crate) async fn is_refused(&self, kinds: &[ErrorKind], says: &[&str]) -> CaseResult {
        let callsign = self.load()?;
        let service: ServiceKey = callsign.key("orders")?;
        let backend = callsign.backend();
        let instance = callsign.instance("orders").endpoint("http://127.0.0.1:1").build()?;
        let options = RegisterOptions::new().required().with_wait(WAIT);
        let view = callsign.service("orders")?;
        let (list, probe, register) = tokio::join!(
            in_time("list", backend.list(&service, Read::Quorum)),
            in_time("probe", backend.probe(Probe::Reachable)),
            in_time("register", callsign.register_with(instance, options)),
        );
        let again = in_time("list", backend.list(&service, Read::Quorum)).await;
        let trouble = view.wait_for(CALL, |snapshot| snapshot.freshness.cause().is_some()).await?;
        let viewed = trouble.freshness.cause().cloned();
        let viewed = viewed.ok_or_else(|| Stop::failed("a view is not in trouble"))?;
        let mut answers =
            vec![("list", list?), ("register", register?), ("list again", again?), ("view", viewed)];
        // Who is denied a right has been answered.
        if !kinds.contains(&ErrorKind::PermissionDenied) {
            answers.push(("probe", probe?));
        }
        for (what, error) in answers {
            let text = chain(&error);
            let missing: Vec<_> = says.iter().filter(|part| !text.contains(*part)).collect();
            ensure!(missing.is_empty(), "`{what}` does not say {missing:?}: {text}");
            let one_line = !error.to_string().contains('\n');
            ensure!(
                one_line && (what == "register" || kinds.contains(&error.kind())),
                "`{what}`: {:?}: {text}",
                error.kind()
            );
        }
        let asked = Instant::now();
        callsign.close(Duration::from_secs(1)).await?;
        ensure!(asked.elapsed() < CALL, "closing took {:?}", asked.elapsed());
        Ok(())
    }
}

/// The error of `call`, which may not take longer than a call may in any trouble.
async fn in_time<T>(what: &str, call: impl Future<Output = Result<T, Error>>) -> CaseResult<Error> {
    match timeout(CALL, call).await {
        Ok(Err(error)) => Ok(error),
        Ok(Ok(_)) => Err(Stop::failed(format!("`{what}` works"))),
        Err(_) => Err(Stop::failed(format!("`{what}` hangs"))),
    }
}
