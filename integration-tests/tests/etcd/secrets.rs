//! What must not be said is not said: a session with a password is searched for it.

use std::fmt::{self, Debug, Display, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use callsign_core::{Error, Read};
use callsign_integration_tests::etcd::Tokens;
use callsign_testkit::suite::client::observe::is_registered;
use callsign_testkit::suite::{CaseResult, Stop, chain};
use futures::{FutureExt, StreamExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata, Subscriber};

use crate::ensure;
use crate::program::Configured;
use crate::setup::Setup;
use crate::stage::{CALL, RECOVERY, SOON, instance, options};

/// Listens to all that is traced in this process, also by the crates below, while somebody has a secret to keep.
#[derive(Debug, Default)]
struct Listener {
    /// How many have one to keep: asked very often, and mostly by who has nothing to do with it.
    keepers: AtomicUsize,
    secrets: Mutex<Vec<String>>,
    /// What was said although it is secret, and how much was said altogether.
    said: Mutex<(Vec<String>, usize)>,
}

static LISTENER: OnceLock<&'static Listener> = OnceLock::new();

impl Listener {
    /// The one of this process.
    fn get() -> &'static Self {
        LISTENER.get_or_init(|| {
            let listener: &'static Self = Box::leak(Box::default());
            // Nobody else in this program has set one.
            let _ = tracing::subscriber::set_global_default(Ears(listener));
            listener
        })
    }

    fn secrets(&self) -> MutexGuard<'_, Vec<String>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, words: &str) {
        let tells = self.secrets().iter().any(|secret| words.contains(secret));
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.1 += 1;
        if tells {
            said.0.push(words.chars().take(300).collect());
        }
    }

    /// What was said of secrets so far, and how much was said at all.
    fn heard(&self) -> (Vec<String>, usize) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Ears(&'static Listener);

/// What is said in one event or span.
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Subscriber for Ears {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.0.keepers.load(Ordering::Relaxed) > 0
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut words = Words(span.metadata().name().to_owned());
        span.record(&mut words);
        self.0.hear(&words.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Values<'_>) {
        let mut words = Words(String::new());
        values.record(&mut words);
        self.0.hear(&words.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words(event.metadata().target().to_owned());
        event.record(&mut words);
        self.0.hear(&words.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// All that was said during the session, in whatever form.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn shown(&mut self, what: &str, value: &(impl Debug + ?Sized)) {
        self.0.push((what.to_owned(), format!("{value:?} {value:#?}")));
    }

    fn error(&mut self, what: &str, error: &Error) {
        self.shown(what, error);
        self.0.push((what.to_owned(), format!("{error} {}", chain(error))));
    }

    fn tells(&self, secret: &str) -> Option<&str> {
        self.0.iter().find(|(_, words)| words.contains(secret)).map(|(what, _)| what.as_str())
    }
}

impl Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} things", self.0.len())
    }
}

pub(crate) async fn password_is_in_nothing_that_is_said(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(4);
    // The login runs out, so that there is another one.
    let tokens = Tokens::Simple { ttl: Duration::from_secs(1) };
    let stage = setup.with(|options| options.with_auth(tokens)).stage().await?;
    let password = stage.etcd().tenant().map(|login| login.password.clone()).unwrap_or_default();
    let wrong = "hunter2-hunter2-hunter2";
    let secrets = [password.as_str(), wrong];
    ensure!(password.len() > 8, "there is no password");
    let listener = Listener::get();
    listener.secrets().extend(secrets.map(str::to_owned));
    listener.keepers.fetch_add(1, Ordering::Relaxed);

    let mut said = Said::default();
    let config = stage.config();
    said.shown("the configuration", &config);
    let backend = stage.backend()?;
    let mut told = backend.events();
    let client = callsign_client::Client::new(backend.clone())?;
    let mut events = client.events();
    let service = stage.service("orders")?;
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let view = stage.view(&client, &service).await?;
    said.shown("the listing", &backend.list(&service, Read::Quorum).await?);
    let outage = stage.etcd().kill_all().await?;
    if let Err(error) = backend.list(&service, Read::Quorum).await {
        said.error("an outage", &error);
    }
    said.shown("a view in trouble", &*view.snapshot());
    outage.heal().await?;
    is_registered(&owner.registration, RECOVERY).await?;
    let denied = backend.list(&callsign_core::ServiceKey::new("orders")?, Read::Quorum).await;
    said.error("a denial", &denied.err().ok_or_else(|| Stop::failed("nothing is denied"))?);
    for (what, value) in
        [("the backend", &backend as &dyn Debug), ("the client", &client), ("the view", &view)]
    {
        said.shown(what, value);
    }
    said.shown("the registration", &owner);

    let mistaken = config.clone().with_password(config.username.clone().unwrap_or_default(), wrong);
    said.shown("a wrong configuration", &mistaken);
    let backend = crate::stage::backend(&mistaken)?;
    let refused = backend.list(&service, Read::Quorum).await;
    said.error("a wrong password", &refused.err().ok_or_else(|| Stop::failed("a wrong password is taken"))?);
    said.shown("a refused backend", &backend);
    let mistaken = callsign_client::Client::new(backend)?;
    let wait = options(ttl)?.required().with_wait(Duration::from_secs(1));
    let refused = mistaken.register(instance(&service, "two").build()?, wait).await;
    said.error("a refused registration", &refused.err().ok_or_else(|| Stop::failed("it is registered"))?);
    let view = mistaken.service(service.clone());
    let trouble = view.wait_for(CALL, |snapshot| snapshot.freshness.cause().is_some()).await?;
    said.shown("a refused view", &*trouble);
    let program = Configured::like(&config).with("password", wrong).load()?;
    said.shown("a program", &program);
    // A password where none belongs.
    let misplaced = config.clone().with_endpoints([format!("http://tenant:{wrong}@127.0.0.1:1")]);
    said.shown("a misplaced password", &misplaced);
    if let Err(error) = callsign_etcd::Etcd::new(&misplaced, "etcd") {
        said.error("a misplaced password", &error);
    }
    for url in
        [format!("etcd://tenant:{wrong}@127.0.0.1:1"), format!("etcd://tenant:{wrong}@127.0.0.1:99999")]
    {
        match callsign::Callsign::connect(url) {
            Ok(program) => said.shown("a program with a URL", &program),
            Err(error) => said.error("a wrong URL", &error),
        }
    }

    let departure = owner.registration.deregister(SOON).await;
    said.shown("the departure", &departure);
    while let Some(Some(event)) = told.next().now_or_never() {
        said.shown("an event", &event);
    }
    while let Some(Some(event)) = events.next().now_or_never() {
        said.shown("an event of the client", &event);
    }
    for secret in secrets {
        let place = said.tells(secret);
        ensure!(place.is_none(), "of {said}, {place:?} tells the password");
    }
    let (traced, count) = listener.heard();
    listener.keepers.fetch_sub(1, Ordering::Relaxed);
    ensure!(count > 100, "nothing was traced: {count} events");
    ensure!(
        traced.is_empty(),
        "it was traced: {}",
        traced.iter().map(|words| redacted(words, &secrets)).collect::<String>()
    );
    Ok(())
}

/// A failure should not tell it either.
fn redacted(words: &str, secrets: &[&str]) -> String {
    secrets.iter().fold(words.to_owned(), |words, secret| words.replace(secret, "***"))
}
