//! What every subscriber sees, whoever serves and however it speaks: one suite, written once, run over the socket
//! taken out of hyper, over `axum::serve`, over HTTP/2 under both, and compressed.
#![allow(clippy::unwrap_used, reason = "a test: a failure shall be loud")]

mod delivery;
mod endings;
mod heads;
mod heartbeat;
mod multiplexed;
mod resume;
mod slow;
#[path = "../support/mod.rs"]
mod support;

macro_rules! over_every_transport {
    (@over $transport:ident $wire:ident $($module:ident { $($name:ident)+ })+) => {
        mod $transport {
            $(mod $module {
                $(#[tokio::test]
                async fn $name() {
                    crate::$module::$name(crate::support::Wire::$wire).await;
                })+
            })+
        }
    };
    ($($suite:tt)+) => {
        over_every_transport!(@over takeover Takeover $($suite)+);
        over_every_transport!(@over axum Axum $($suite)+);
        over_every_transport!(@over axum_http2 AxumHttp2 $($suite)+);
        over_every_transport!(@over http2 Http2 $($suite)+);
        over_every_transport!(@over gzip Gzip $($suite)+);
        over_every_transport!(@over axum_gzip AxumGzip $($suite)+);
    };
}

over_every_transport! {
    heads {
        the_head_is_what_proxies_and_browsers_need
        connected_comes_first_and_at_once_with_every_field
        connected_leaves_away_what_was_not_given
        a_head_request_gets_the_head_and_takes_no_place
    }
    delivery {
        every_kind_of_target_reaches_whom_it_names_and_counts_them
        one_connection_named_twice_gets_an_event_once
        an_event_for_nobody_is_counted_as_nobody_and_harms_nobody
        the_id_of_the_receipt_is_the_id_on_the_wire
        an_ephemeral_event_reaches_those_present_and_is_not_kept
        text_arrives_as_it_was_sent_line_ends_included
        every_other_type_may_be_used_lifecycle_names_included
        the_largest_event_arrives_whole
        a_retry_travels_with_its_event
        events_of_concurrent_publishers_arrive_all_in_order_of_position
        a_hundred_streams_get_everything
    }
    heartbeat {
        pings_come_in_the_interval_and_carry_the_present
        comments_take_the_place_of_pings_where_asked_for
        a_ping_moves_the_cursor_of_a_client_that_nothing_is_for
    }
    resume {
        a_cut_anywhere_in_live_delivery_loses_and_repeats_nothing
        a_cut_before_the_first_event_loses_nothing
        a_cut_anywhere_in_a_replay_loses_and_repeats_nothing
        a_resumed_client_is_told_so_and_hears_a_ping_at_once
        replay_goes_over_into_live_without_a_seam
        replay_is_matched_against_the_present_identity
        a_cursor_read_before_loading_state_makes_no_hole
        history_that_is_gone_is_a_gap_and_says_where_it_ends
        a_hot_topic_makes_no_gap_for_a_quiet_user
        a_cursor_that_means_nothing_here_is_a_reset_and_never_an_error
        starts_are_the_earliest_the_latest_or_the_last_so_many
        the_header_wins_over_the_query
        the_id_of_an_ephemeral_event_resumes_at_the_place_before_it
        events_for_a_client_id_die_with_it
    }
    endings {
        a_disconnected_client_is_told_not_to_come_back
        disconnecting_a_user_ends_every_stream_of_the_user_and_no_other
        a_drain_tells_everybody_to_come_back_and_refuses_newcomers_in_the_stream
        destroying_ends_streams_and_refuses_events
        want_of_room_is_said_in_a_stream_that_was_asked_for
        want_of_room_is_503_for_everybody_else
        a_place_that_becomes_free_is_given_again
        statistics_are_exact_after_clients_come_and_go
        a_lifetime_ends_a_stream_that_then_resumes
        a_reader_that_takes_nothing_is_told_it_was_slow
        what_is_pending_arrives_before_a_planned_end
    }
    slow {
        a_slow_reader_that_catches_up_gets_everything_late
        a_slow_reader_that_skips_is_told_of_the_gap_and_goes_on_in_the_present
        a_slow_reader_that_is_to_go_is_told_to_come_back
    }
}

#[test]
fn the_parser_of_these_tests_agrees_with_the_golden_vectors() {
    support::sse::assert_agrees_with_the_golden_vectors();
}
