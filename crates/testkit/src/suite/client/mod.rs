//! What the client promises over every backend.

mod context;
mod leaving;
pub mod observe;
mod outages;
mod owners;
mod processes;
mod protection;
mod registering;
mod tap;
mod tasks;
mod viewing;

use super::{Case, Suite, case};

pub use context::{ClientCtx, Owner};
pub use processes::Process;
pub use tap::{Tap, Write};

/// The suite that registrations and views pass over every backend that passes [`BACKEND`](super::BACKEND).
pub static CLIENT: Suite<ClientCtx> = Suite { name: "client", cases: CASES, context: ClientCtx::new };

/// Every promise of the client, once.
#[rustfmt::skip]
pub static CASES: &[Case<ClientCtx>] = &[
    case!(registering::register_then_seen_by_a_view,
        "What one client registers, another's view shows, as it was registered."),
    case!(registering::start_while_the_registry_is_down_registers_by_itself [Alone],
        "An application starts while its registry is down: the registration is pending, and registered by itself later."),
    case!(registering::required_start_fails_with_the_cause [Alone],
        "A required registration that does not get through is an error with its cause, and nothing is registered later."),
    case!(registering::registration_given_up_leaves_nothing,
        "A registration that is given up while it is waited for leaves no record."),
    case!(registering::update_in_place_keeps_exactly_one_record,
        "While a registration is changed, nobody sees it absent or twice."),
    case!(registering::concurrent_updates_are_all_in_the_last,
        "Of many changes at the same time none is lost."),
    case!(registering::update_that_breaks_a_rule_changes_nothing,
        "A change that breaks a rule is refused as a whole, and nothing is written."),
    case!(registering::update_during_an_outage_is_what_is_registered_after_it [Alone],
        "What was changed during an outage is registered after it: only the newest."),
    case!(registering::instance_that_can_never_be_taken_is_an_error_at_once [MetadataLimit],
        "An instance that the registry can never take is an error; a change that it refuses shows, and can be mended."),

    case!(outages::outage_shorter_than_the_ttl_is_no_event [Alone],
        "An outage that is shorter than the ttl takes nothing from any view, and no registration is lost."),
    case!(outages::outage_longer_than_the_ttl_comes_back [Alone],
        "After an outage longer than the ttl a registration is back within a third of its ttl and 5 s; views show it throughout."),
    case!(outages::two_outages_in_a_row_are_survived [Alone],
        "The second outage is survived as the first was."),
    case!(outages::outage_whose_end_nobody_tells_of_is_survived [Alone],
        "A registration is never given up, and comes back by itself where the backend tells of nothing."),
    case!(outages::end_of_an_outage_that_is_told_is_not_slept_through [Alone],
        "Where the backend tells that its registry is back, nobody waits for the end of a pause."),
    case!(outages::states_of_an_outage_are_told_in_order [Alone],
        "A registration tells of its life: registered, lost, registered, draining, gone."),
    case!(outages::frozen_registry_delays_nobody_and_views_come_back [Alone],
        "While the registry is frozen nobody waits longer than asked; views become stale, and live again."),
    case!(outages::wiped_registry_is_filled_again [Alone],
        "A registry that was wiped is filled again within 5 ttls, and no view misses anybody meanwhile."),
    case!(outages::record_deleted_by_hand_is_repaired,
        "A record that an operator has deleted is there again within 5 ttls, and no view misses it."),
    case!(outages::lost_signal_registers_again_without_waiting_for_the_renewal [RemovesOthers],
        "A loss that the backend tells of is repaired at once."),
    case!(outages::owner_that_is_cut_off_stays_in_the_views,
        "An owner that is cut off for longer than its ttl and answers stays in the views, and comes back."),
    case!(outages::herd_comes_back_without_a_stampede [Alone],
        "After an outage 500 registrations come back in time, spread over 3 s, each with one write."),

    case!(owners::later_owner_takes_over_and_the_earlier_is_rejected [CompareAndSet],
        "Of two owners of one id the later has it; the earlier is told, keeps away while the later lives, and is not given up."),
    case!(owners::restarted_process_replaces_its_former_record,
        "A process that crashed and is started again with its id is one record, with a higher incarnation."),
    case!(owners::clock_that_was_set_back_locks_no_owner_out [CompareAndSet],
        "An owner whose clock is behind that of its former life registers all the same, above it."),

    case!(leaving::last_instance_that_leaves_is_gone_at_once,
        "The last instance of a service that deregisters is gone from every view at once."),
    case!(leaving::drain_announces_waits_and_deletes,
        "Draining is seen at once, lasts for the notice, and ends with the delete."),
    case!(leaving::deregister_hurries_a_drain,
        "Deregistering during a drain ends it early."),
    case!(leaving::deregister_with_the_registry_down_returns_by_its_deadline_and_says_so [Alone],
        "Deregistering while the registry is gone returns by its deadline, and says what was not done."),
    case!(leaving::drain_with_the_registry_down_returns_in_time_and_says_so [Alone],
        "Draining while the registry is gone returns 2 s after the notice, and says what was not done."),
    case!(leaving::deregister_from_a_frozen_registry_returns_by_its_deadline_and_says_so [Alone],
        "Deregistering from a frozen registry returns by its deadline, and says what was not done."),
    case!(leaving::deregistered_instance_stays_gone_after_an_outage [Alone],
        "Who has deregistered is not brought back by an outage."),
    case!(leaving::deregistered_instance_stays_gone_after_a_wipe [Alone],
        "Who has deregistered is not brought back when the registry is filled again."),
    case!(leaving::deregistered_during_an_outage_is_never_registered_again [Alone],
        "Who has deregistered during an outage is gone with its lease, and is never written again."),
    case!(leaving::registration_that_never_arrived_leaves_nothing [Alone],
        "Who leaves before it was ever registered leaves nothing behind."),
    case!(leaving::ghost_of_a_deregistered_instance_is_not_shown,
        "A registry that brings back who has left does not bring it back into a view; its next life is shown."),
    case!(leaving::dropped_handle_takes_the_record_along,
        "Dropping the handle deletes the record, long before its lease ends."),
    case!(leaving::closing_a_client_deregisters_and_ends_its_streams,
        "Closing a client deregisters what it has registered, ends the streams, and takes nothing new."),
    case!(leaving::views_keep_their_last_answer_after_the_client_is_closed,
        "The views of a client that is closed keep their last answer, and say so."),
    case!(leaving::closing_with_the_registry_down_returns_by_its_deadline [Alone],
        "Closing a client while the registry is gone returns by its deadline."),

    case!(viewing::view_before_the_service_exists,
        "A view of a service that nobody has registered is live and empty, and then it is not empty."),
    case!(viewing::ready_on_an_unreachable_registry_times_out_with_the_cause [Alone],
        "Waiting for a view that hears nothing ends in time, with the cause; nothing heard is not empty."),
    case!(viewing::odd_names_are_kept_apart_or_refused,
        "Services with odd names are kept apart, or are refused with `LimitExceeded` or `Unsupported`."),
    case!(viewing::garbage_among_good_ones_keeps_the_former_value [Alone],
        "A record that cannot be decoded keeps its former value in a view, and is repaired by its owner."),
    case!(viewing::slow_reader_skips_and_nobody_waits,
        "A reader that sleeps through many changes is shown the last one; none is kept for it, and nobody waits."),
    case!(viewing::changes_add_up_to_the_snapshot,
        "The changes of a view add up to what it shows, whatever was skipped."),
    case!(viewing::thousand_views_share_one_watch,
        "A thousand views of a service are one watch, which goes on for 30 s after the last of them."),
    case!(viewing::freshness_and_protection_are_published_as_events,
        "Events tell when a view becomes stale and live, and when removals are held and released."),
    case!(viewing::age_of_an_answer_is_the_callers_to_judge,
        "A view in trouble keeps its answer, says how old it is, and lets the caller judge."),

    case!(protection::last_instance_that_crashes_is_held_probed_and_then_gone,
        "The last instance of a service that expires is shown for as long as it answers, and no longer."),
    case!(protection::mass_expiry_is_held_and_released_when_the_owners_are_back,
        "Many that expire at once and answer are held, and are released when their owners are back."),
    case!(protection::one_that_is_missing_after_a_wipe_is_held_too [Alone],
        "One that a wiped registry does not list again, and answers, is held, few as that is."),
    case!(protection::mass_expiry_of_dead_processes_is_applied_after_the_probes,
        "Many that expire at once and do not answer are removed; the others stay."),
    case!(protection::without_protection_mass_expiry_is_applied_at_once,
        "Where protection is switched off, for all services or one, every removal is applied at once."),
    case!(protection::announced_mass_removal_is_applied_at_once,
        "Many that leave at once with goodbye are removed at once."),

    case!(tasks::dropped_handles_end_every_task,
        "When client, registrations and views are dropped, every task of them ends."),
];
