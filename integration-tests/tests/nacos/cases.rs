//! What Nacos proves beside the suites.

use callsign_testkit::Subject;

use crate::{bad_input, clusters, content, encryption, logins, sessions};

/// Has a subject prove what functions do. Each case is named after its function and stands with the others of its module.
macro_rules! prove {
    ($subject:expr, $($module:ident :: $case:ident, $promise:literal;)+) => {{
        let subject = $subject;
        $(let subject = subject.proves(stringify!($module), stringify!($case), $promise, $module::$case);)+
        subject
    }};
}

#[rustfmt::skip]
pub(crate) fn strict(subject: Subject) -> Subject {
    prove!(subject,
        sessions::asked_to_move_nobody_is_missing_for_a_moment,
            "A server that wants to be rid of a connection is followed, and no record is missing meanwhile.";
        sessions::server_that_says_little_is_understood,
            "A server without abilities, that holds its first word back, is connected to soon.";
        sessions::server_that_asks_gets_an_answer,
            "Pushes are acknowledged, and a server that asks for a sign of life gets one.";
        sessions::lost_pushes_are_made_up_for,
            "What was never pushed is shown after the time in which a service is asked about.";
        sessions::push_without_a_namespace_reaches_the_right_one,
            "Where services of one name are followed in two namespaces, a push that does not say its own shows in the right one.";
        sessions::nothing_is_left_of_a_client_that_is_dropped,
            "Dropping a watch ends its subscription, dropping a client its connection, its instances and every task.";
        sessions::several_of_one_service_come_back_together,
            "All instances of a service come back after a restart, and go one by one.";
        sessions::who_has_not_changed_is_the_same_after_a_lost_connection,
            "After a lost connection a watch hands over the same value for a record that has not changed.";
        sessions::server_that_wants_nobody_is_not_besieged,
            "A server that sends every connection away is asked less and less often, and nothing is lost.";
        sessions::proxy_that_refuses_in_the_servers_name_is_no_sign_of_life,
            "A connection on which only a proxy answers is given up, and nothing is lost when the way is free again.";
        sessions::write_of_a_dead_connection_is_not_done_on_the_next,
            "A registration that has failed with its connection is not done on the next one.";
        sessions::watch_that_nobody_polls_is_in_no_others_way,
            "A watch that is left alone while it asks for a sign of life keeps no other from getting one.";
        sessions::stranger_among_the_servers_is_in_nobodys_way,
            "A host that nobody knows and a closed port beside a good server keep nobody from anything.";
        sessions::many_are_registered_and_followed_over_one_connection,
            "300 services are registered and followed over one connection, also after a restart.";
        logins::both_logins_are_found,
            "The login of Nacos 3 and that of its predecessors are both found.";
        logins::token_is_refreshed_before_it_ends_and_after_it_was_revoked,
            "A token is refreshed in time, and a revoked one is replaced; neither costs the connection.";
        logins::time_of_a_token_that_makes_no_sense_is_no_reason_to_fail,
            "A token whose time is nothing, or beyond all time, is used, and not asked for again and again.";
        logins::login_that_fails_ends_no_connection,
            "While a login fails the connection stays with its records, and goes on when the login is right again.";
        logins::wrong_password_is_told_and_not_shown,
            "A wrong password is told with the keys to check, and shown nowhere.";
        logins::r_nacos_lets_in_who_has_logged_in_and_goes_on_when_a_token_has_ended,
            "On r-nacos, too, a token that ends is replaced in time.";
        encryption::encrypted_servers_are_reached_and_logged_in_at,
            "TLS is spoken for gRPC and for the login, with the client's certificate where that is asked for.";
        encryption::server_is_believed_with_the_right_authority_and_name_only,
            "A certificate of somebody else, or of another name, is refused with the key to set.";
        encryption::login_at_a_server_that_is_not_believed_is_not_tried_and_told,
            "Where only the login's certificate is not trusted, that is told, and no password is sent.";
        encryption::client_without_a_certificate_is_told_what_to_set,
            "Who shows no certificate, or one that the server does not trust, is told which keys to set.";
        bad_input::what_is_no_nacos_is_told_for_what_it_is,
            "A closed port, HTTP without gRPC, a web server and an unknown name are told apart.";
        bad_input::unknown_namespace_is_told_with_what_to_do,
            "A namespace that does not exist is told, with what to do.";
        bad_input::persistent_service_is_told_and_disturbs_no_other,
            "A service of persistent instances is told, and others are registered all the same.";
        bad_input::what_nacos_does_not_take_is_refused_before_it_is_sent,
            "Names and metadata beyond Nacos' limits are refused with the limit, and nothing is sent.";
        bad_input::wrong_login_where_none_is_needed_is_in_nobodys_way,
            "A login that does not work keeps nobody from a server that asks for none.";
        content::instance_of_other_software_is_listed_with_what_it_says,
            "An instance of other software is listed, with what it says.";
        content::ghost_of_a_dead_connection_is_not_shown_beside_its_successor,
            "Of two records of one id that two connections publish, the higher pair is shown.";
        content::who_is_hidden_by_an_operator_is_gone_and_told,
            "Who is disabled by an operator is not listed, and its owner is told.";
        content::record_that_nobody_renews_leaves_the_set_of_its_neighbours,
            "A record that nobody renews is withdrawn from the set in which its neighbours stay.";
        content::record_that_a_server_refuses_takes_nobody_along,
            "Of many that are registered at once the one that is refused is told, and all others are there.";
        content::server_that_restarts_empties_no_view,
            "A server that restarts with nothing takes nobody out of a view.";
    )
}

#[rustfmt::skip]
pub(crate) fn clustered(subject: Subject) -> Subject {
    prove!(subject,
        clusters::what_is_registered_at_one_server_is_seen_at_the_others,
            "What one server is told the others push.";
        clusters::server_that_is_lost_takes_no_record_and_no_watch_along,
            "Records and watches live on at the servers that are left.";
    )
}
