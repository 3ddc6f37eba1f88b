//! A backend from outside passes the suite, with what is public.

mod toy;

use std::process::ExitCode;

use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run};
use toy::ToyHarness;

fn main() -> ExitCode {
    run([Subject::fresh("toy", ToyHarness::default).passes(&BACKEND).passes(&CLIENT)])
}
