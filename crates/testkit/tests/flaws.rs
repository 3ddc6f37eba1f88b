//! The suite notices: a backend that passes is broken in one way after the other, and the case that is there for it
//! fails.

mod flawed;
mod toy;

use callsign_testkit::prove;
use callsign_testkit::suite::backend::CASES;
use callsign_testkit::suite::{BACKEND, Stop};
use flawed::{Flaw, FlawedHarness};

/// Which case notices which flaw.
const NOTICED: &[(Flaw, &str)] = &[
    (Flaw::BuildingWaits, "building_does_no_io"),
    (Flaw::SwallowsWrites, "register_then_list"),
    (Flaw::DeletesAndCreates, "register_replaces_in_place"),
    (Flaw::LastWriterWins, "lower_pair_is_a_conflict_with_the_holder"),
    (Flaw::LastWriterWins, "concurrent_registers_of_one_id_leave_the_highest_pair"),
    (Flaw::ConflictHidesItsHolder, "lower_pair_is_a_conflict_with_the_holder"),
    (Flaw::DeletesAnybodys, "deregister_never_removes_a_higher_pair"),
    (Flaw::MissingIsAnError, "deregister_of_an_unknown_record_is_success"),
    (Flaw::MissingIsAnError, "deregister_is_idempotent"),
    (Flaw::RenewalRegisters, "renew_of_an_unknown_record_is_not_found"),
    (Flaw::RenewalRegisters, "renew_after_expiry_is_not_found"),
    (Flaw::RenewalRegisters, "renew_after_deletion_is_not_found"),
    (Flaw::RenewalRegisters, "wiped_record_is_reported_lost"),
    (Flaw::NeverExpires, "lease_expires_without_renewal"),
    (Flaw::NeverExpires, "watch_sees_expiry"),
    (Flaw::NeverExpires, "one_renewal_does_not_keep_a_neighbour_alive"),
    (Flaw::PromisesTwiceTheTtl, "lease_expires_without_renewal"),
    (Flaw::KeepsWhatIsEmpty, "metadata_round_trips"),
    (Flaw::PairsAreDoubles, "pairs_survive_whole"),
    (Flaw::SlashesAreUnderscores, "odd_names_are_kept_or_refused"),
    (Flaw::PrefixesMatch, "prefix_names_do_not_mix"),
    (Flaw::GroupsAreIgnored, "groups_do_not_mix"),
    (Flaw::ErrorsAreEmptyListings, "outage_is_unavailable_quickly"),
    (Flaw::HangsDuringOutage, "outage_is_unavailable_quickly"),
    (Flaw::RevisionStands, "revision_grows_with_every_change"),
    (Flaw::EpochStands, "wiped_registry_starts_a_new_epoch"),
    (Flaw::ServicesAreUnsorted, "services_are_listed"),
    (Flaw::LimitIsAnotherError, "metadata_limit_is_reported"),
    (Flaw::WatchLosesRemovals, "last_instance_leaving_is_an_empty_listing"),
    (Flaw::WatchEndsOnError, "outage_is_unavailable_quickly"),
    (Flaw::WatchNeverSaysProgress, "quiet_watch_shows_progress"),
    (Flaw::WatchCopiesEverything, "unchanged_record_is_the_same_arc"),
    (Flaw::WatchBeginsAtOnce, "dropped_watch_ends_its_tasks"),
    (Flaw::WatchShowsEverything, "watch_coalesces_and_loses_nothing"),
    (Flaw::CloseIsForgotten, "close_ends_streams_and_rejects_calls"),
    (Flaw::ErrorsAreNameless, "errors_name_backend_and_operation"),
];

fn outcome(flaw: Flaw, name: &str) -> Result<(), Stop> {
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        return Err(Stop::Ignored(format!("there is no case `{name}`")));
    };
    prove(&BACKEND, case, || FlawedHarness::new(flaw))
}

#[test]
fn every_flaw_is_noticed() {
    for (flaw, case) in NOTICED {
        match outcome(*flaw, case) {
            Err(Stop::Failed(failure)) => println!("{flaw:?}: {case}: {failure}"),
            other => panic!("`{case}` does not notice {flaw:?}: {other:?}"),
        }
    }
}

#[test]
fn without_a_flaw_the_same_cases_pass() {
    for (_, case) in NOTICED {
        assert!(outcome(Flaw::None, case).is_ok(), "{case}: {:?}", outcome(Flaw::None, case));
    }
}
