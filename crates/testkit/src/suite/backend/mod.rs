//! What every backend promises.

mod closing;
mod content;
mod deregistering;
mod faults;
mod identity;
mod leases;
mod listing;
mod names;
mod pairs;
mod registering;
mod tasks;
mod watching;
mod wiping;

use super::{Case, Ctx, Suite, case};

/// The suite that every backend has to pass.
pub static BACKEND: Suite<Ctx> = Suite { name: "backend", cases: CASES, context: |ctx| ctx };

/// Every promise of a backend, once. A case that is not here is dead code, and the compiler says so.
#[rustfmt::skip]
pub static CASES: &[Case<Ctx>] = &[
    case!(registering::register_then_list,
        "What one client registers, another lists."),
    case!(registering::register_is_idempotent,
        "Registering the same record again changes nothing."),
    case!(registering::register_with_an_equal_pair_takes_over,
        "A record with an equal pair replaces the one that is there, also from another client."),
    case!(registering::register_replaces_in_place,
        "While a record is replaced, nobody sees it absent or twice."),
    case!(registering::concurrent_registrations_all_arrive,
        "200 registrations at the same time are 200 records."),
    case!(registering::concurrent_registers_of_one_id_leave_the_highest_pair [CompareAndSet],
        "Of many writes to one id at the same time, the highest pair stays, and no lower one is refused without reason."),
    case!(pairs::higher_pair_overwrites,
        "A record with a higher pair replaces the one that is there, also from another client."),
    case!(pairs::lower_pair_is_a_conflict_with_the_holder [CompareAndSet],
        "A lower pair never overwrites a higher one: the answer is `Conflict`, with the holder's pair."),
    case!(pairs::deregister_never_removes_a_higher_pair [CompareAndSet],
        "An owner that was replaced cannot remove its successor's record: the answer is `Conflict`."),
    case!(pairs::deregister_removes_a_lower_pair [RemovesOthers],
        "A delete with a higher pair removes the record."),
    case!(pairs::renew_after_overwrite_reports,
        "An owner whose record was overwritten hears of it within 5 ttls, and does not disturb the new one."),
    case!(pairs::pairs_survive_whole,
        "Incarnation and seq come back as they were written, up to the largest number."),

    case!(leases::lease_expires_without_renewal,
        "A record that nobody renews lives for its ttl, and not much longer."),
    case!(leases::renew_keeps_alive,
        "A record that is renewed every third of its ttl stays."),
    case!(leases::one_renewal_does_not_keep_a_neighbour_alive,
        "A record that nobody renews expires, also where another shares its lease."),
    case!(leases::renew_after_expiry_is_not_found,
        "Renewing a record that has expired is `NotFound`, and brings nothing back."),
    case!(leases::renew_of_an_unknown_record_is_not_found,
        "Renewing what was never registered is `NotFound`, and registers nothing."),
    case!(leases::renew_after_deletion_is_not_found,
        "An owner whose record an operator has deleted hears of it within 5 ttls."),
    case!(leases::renew_after_a_deregistration_by_another_is_not_found [RemovesOthers],
        "An owner whose record another client has removed hears of it within 5 ttls."),

    case!(deregistering::deregister_removes,
        "A deregistered record is gone, and its neighbours are not."),
    case!(deregistering::deregister_is_idempotent,
        "Deregistering again is a success."),
    case!(deregistering::deregister_of_an_unknown_record_is_success,
        "Deregistering what was never there is a success."),
    case!(deregistering::deregistered_id_can_come_back,
        "An id that was deregistered can be registered again, by its next incarnation."),

    case!(content::all_fields_round_trip,
        "Every field of an instance comes back as it was written."),
    case!(content::metadata_round_trips,
        "Metadata comes back as it was written, or is refused as a whole."),
    case!(content::metadata_limit_is_reported [MetadataLimit],
        "Metadata up to the limit is taken; beyond it the answer is `LimitExceeded`, and nothing is written."),

    case!(names::services_do_not_mix,
        "Two services with the same ids do not see each other."),
    case!(names::prefix_names_do_not_mix,
        "A service does not see another whose name begins with its own."),
    case!(names::groups_do_not_mix [Groups],
        "The same service in two groups is two services."),
    case!(names::namespaces_do_not_mix [Namespaces],
        "The same service in two namespaces is two services."),
    case!(names::odd_names_are_kept_or_refused,
        "Every legal service name is kept apart from every other, or is refused with `LimitExceeded` or `Unsupported`."),
    case!(names::odd_ids_are_kept_or_refused,
        "Every legal id is kept apart from every other, or is refused with `LimitExceeded` or `Unsupported`."),

    case!(listing::unknown_service_is_an_empty_listing,
        "A service that nobody has registered has an empty listing; that is no error."),
    case!(listing::listing_proves_what_was_asked_for,
        "On a healthy registry a listing has the best authority, and the fastest one finds the same."),
    case!(listing::many_instances_are_listed_whole,
        "1000 instances are listed and watched without a gap, each once, sorted by id."),
    case!(listing::revision_grows_with_every_change,
        "When a listing changes, its revision grows, also when the last instance leaves."),
    case!(listing::services_are_listed [Services],
        "The services with at least one record are listed, sorted, each once."),
    case!(listing::undecodable_record_is_skipped_not_fatal,
        "A record that cannot be decoded is skipped with its id and a reason; the others are served."),

    case!(watching::watch_first_item_is_a_listing,
        "The first item of a watch is the whole listing."),
    case!(watching::watch_before_the_service_exists,
        "A service can be watched before anybody registers: it is empty, and then it is not."),
    case!(watching::watch_sees_every_kind_of_change,
        "A watch shows registrations, changes of every field, and removals."),
    case!(watching::watch_sees_expiry,
        "A watch shows that a record has expired."),
    case!(watching::last_instance_leaving_is_an_empty_listing,
        "When the last instance leaves, the watch says so with an empty listing."),
    case!(watching::watch_coalesces_and_loses_nothing,
        "A watcher that was asleep during 1000 changes sees the final state, without seeing every change."),
    case!(watching::watch_subscribers_agree,
        "All watchers of a service end up with the same listing."),
    case!(watching::quiet_watch_shows_progress,
        "A quiet watch proves every 10 s that it is still right."),
    case!(watching::unchanged_record_is_the_same_arc,
        "A record that has not changed is handed over as the same `Arc`."),

    case!(faults::outage_is_unavailable_quickly [Alone],
        "While the registry is gone every call says so quickly, a list is never empty, and a watch mends itself."),
    case!(faults::recovery_needs_no_restart [Alone],
        "A client that went through outages works again without being built anew."),
    case!(faults::outage_shorter_than_the_ttl_loses_nothing [Alone],
        "An outage that is shorter than the ttl takes no record, not even for a moment."),
    case!(faults::building_does_no_io [Alone],
        "A client is built while the registry is gone, and works when the registry is back."),
    case!(faults::watch_makes_no_call_before_it_is_polled [Alone],
        "A watch begins when it is first polled, not before."),
    case!(faults::freeze_does_not_outlast_itself [Alone],
        "Calls to a frozen registry can be given up, a watch notices, and all is well afterwards."),
    case!(faults::events_tell_an_outage_and_its_end [Alone],
        "The events tell that the registry is gone, with a cause, and that it is back."),
    case!(wiping::wiped_registry_starts_a_new_epoch [Alone],
        "A wiped registry is empty in a new epoch."),
    case!(wiping::wiped_record_is_reported_lost [Alone],
        "An owner whose record was wiped hears of it within 5 ttls, and can register again; or it is there again by itself."),

    case!(closing::close_ends_streams_and_rejects_calls,
        "Closing ends every stream with one `Closed`, refuses every call, deregisters nothing, and can be done twice."),
    case!(closing::close_is_bounded_during_an_outage [Alone],
        "Closing ends in time while the registry is gone."),
    case!(closing::close_is_bounded_during_a_freeze [Alone],
        "Closing ends in time while the registry is frozen."),
    case!(tasks::dropped_watch_ends_its_tasks,
        "A watch that is dropped, or never polled, leaves no task."),
    case!(tasks::cancelled_register_leaves_no_task,
        "A registration that is given up leaves no task, and does not stand in the way of the next."),
    case!(tasks::closed_client_leaves_no_task,
        "A client that is closed and dropped leaves no task."),
    case!(identity::info_is_consistent,
        "A backend says what it is and what it can do, the same each time."),
    case!(identity::probe_succeeds_on_a_healthy_registry,
        "A healthy registry passes both probes."),
    case!(identity::errors_name_backend_and_operation,
        "Every error names the backend and the operation."),
];
