//! The Nacos backend keeps its promises: on a fake that is as strict as Nacos, on r-nacos, and on any real Nacos that
//! `CALLSIGN_TEST_NACOS_ADDR` names.

mod bad_input;
mod cases;
mod clusters;
mod content;
mod encryption;
mod logins;
mod sessions;
mod stage;

use std::process::ExitCode;

use callsign_integration_tests::Pool;
use callsign_integration_tests::nacos::{
    FakeHarness, FakeOptions, RNacosHarness, RNacosOptions, RealHarness,
};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run_with_threads};

/// Cases mostly wait.
const THREADS: usize = 6;

/// What r-nacos does otherwise than Nacos, by the rows of the list of differences; all of it is proven on the fake.
const DIFFERENT: [(&str, &str); 1] = [(
    "garbage_among_good_ones_keeps_the_former_value",
    "row 5: metadata that came over HTTP stays, whatever its owner publishes",
)];

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(callsign_testkit::suite::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

fn main() -> ExitCode {
    let (fakes, rnacos) = (Pool::new(), Pool::new());
    let fake = |name: &str, options: FakeOptions| {
        let pool = fakes.clone();
        Subject::fresh(name, move || FakeHarness::new(&pool, &options)).passes(&BACKEND).passes(&CLIENT)
    };
    let rnacos_subject = |name: &str, options: RNacosOptions| {
        let pool = rnacos.clone();
        Subject::fresh(name, move || RNacosHarness::new(&pool, &options))
            .without(DIFFERENT)
            .passes(&BACKEND)
            .passes(&CLIENT)
    };
    let subjects = [
        cases::strict(fake("nacos-fake", FakeOptions::default())),
        cases::clustered(rnacos_subject("rnacos", RNacosOptions::default())),
        Subject::shared("nacos-real", RealHarness).passes(&BACKEND).passes(&CLIENT),
    ];
    run_with_threads(THREADS, subjects)
}
